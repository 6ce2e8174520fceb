//! Trying a job again: as it is, or an annotation for some of its examples alone.

use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    ProjectState,
    error::ApiError,
    extract::Id,
    idempotency::KeyHeader,
    job_conflict::JobConflict,
    job_requests::{Requested, act},
    job_resource::JobResource,
    keyed_body::KeyedBody,
    openapi::Act,
};
use crate::{
    domain::{AnnotationStatus, Job, JobId, JobState},
    store::Retried,
};

/// How a job is tried again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"only": ["invalid", "failed"]}))]
pub struct RetryRequest {
    /// Of an annotation: ask again about the examples with one of these statuses, `valid` not being one of them. Left out, the
    /// job goes on where it ended.
    #[serde(default)]
    only: Option<Vec<AnnotationStatus>>,
}

/// Retry a job that failed or was cancelled, with all its attempts before it; or ask again about some examples of an annotation
/// that is over, also of one that succeeded.
///
/// | the job is | what happens |
/// |---|---|
/// | failed, cancelled | it is queued; its error, its result and its requests are cleared. Answers of a teacher and the newest snapshot are kept, so that nothing is paid for twice and a training continues. First rows of an annotation (`smoke`) that did not turn out well are judged again |
/// | queued, running | nothing; it is returned as it is |
/// | paused | 409 `job_is_paused`: resume it |
/// | succeeded | 409 `job_is_over`: submit a new job, or ask again with `only` |
///
/// With `{"only": ["invalid", "failed"]}` an annotation that is over in any way is queued without its verdicts of these
/// statuses: the teacher is asked anew about these examples, and about those that had no verdict yet. What was answered before
/// is set aside: it counts in the sums and is not taken again. The files that the job left stay as they are, and its next end
/// writes new ones. Jobs that wait for it and have not begun learn from those.
///
/// | with `only`, the job is | what happens |
/// |---|---|
/// | no annotation | 409 `not_an_annotation` |
/// | not over | 409 `job_is_not_over` |
/// | over, without such an example | 409 `nothing_to_ask` |
/// | over, and read by a job that has begun | 409 `output_in_use` |
///
/// Refused with 409 `file_deleted` when a file that it reads was deleted, with 409 `model_deleted` when a model or checkpoint
/// that it trains from or scores was deleted, and with 409 `dependency_failed` while a job that it depends on has failed or
/// was cancelled.
#[utoipa::path(post, path = "/v1/jobs/{id}/retry", tag = "jobs",
    params(("id" = JobId, Path, description = "The job", example = "job-0198f1e2b7c67d2ea1b3c4d5e6f70819"), KeyHeader),
    request_body(content = Option<RetryRequest>, description = "What is asked again; may be left out",
        example = json!({"only": ["invalid", "failed"]})),
    responses((status = 200, description = "The job as it stands now", body = JobResource), Act))]
pub async fn retry_job(
    state: ProjectState,
    id: Id<JobId>,
    body: KeyedBody<RetryRequest>,
) -> Result<Response, ApiError> {
    let KeyedBody { request, key, bytes } = body;
    let only = request.only.map(checked).transpose()?;
    let again = async || retried(&state, id, only.as_deref()).await;
    act(&state, Requested { key, route: "POST /v1/jobs/{id}/retry", id, body: bytes }, again).await
}

/// Statuses that can be asked about again.
fn checked(only: Vec<AnnotationStatus>) -> Result<Vec<AnnotationStatus>, ApiError> {
    let refuse = |detail: &str| Err(ApiError::field("#/only", "invalid_value", detail));
    let others = "invalid, refused, truncated or failed";
    match &only[..] {
        [] => refuse(&format!("only names no status; name {others}, or leave it out")),
        named if named.contains(&AnnotationStatus::Valid) => {
            refuse(&format!("valid answers are kept; name {others}, or submit a new job"))
        }
        _ => Ok(only),
    }
}

async fn retried(state: &ProjectState, id: Id<JobId>, only: Option<&[AnnotationStatus]>) -> Result<Job, ApiError> {
    let (job, project) = (id.0, state.project);
    let retried = match only {
        Some(statuses) => state.store.ask_again(project, job, statuses).await?,
        None => state.store.retry_job(project, job).await?,
    };
    match retried.ok_or_else(|| id.missing())? {
        Retried::FileDeleted(file) => Err(JobConflict::FileDeleted { job, file }.into()),
        Retried::ModelDeleted(model) => Err(JobConflict::ModelDeleted { job, model }.into()),
        Retried::ParentOver(parent, state) => Err(JobConflict::ParentOver { job, parent, state }.into()),
        Retried::NotAnAnnotation(kind) => Err(JobConflict::NotAnAnnotation { job, kind }.into()),
        Retried::NotOver(state) => Err(JobConflict::NotOver { job, state }.into()),
        Retried::NothingOf => Err(JobConflict::NothingToAsk(job).into()),
        Retried::OutputRead(reader) => Err(JobConflict::OutputInUse { job, reader }.into()),
        Retried::Job(job) => match job.state {
            JobState::Succeeded => Err(JobConflict::Over { job: job.id, state: job.state }.into()),
            JobState::Paused => Err(JobConflict::Paused(job.id).into()),
            _ => Ok(*job),
        },
    }
}
