//! Resuming a paused job, perhaps with a larger budget.

use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    ProjectState,
    error::ApiError,
    extract::Id,
    idempotency::KeyHeader,
    job_conflict::JobConflict,
    job_requests::{Requested, act, refuse_over},
    job_resource::{JobResource, find},
    keyed_body::KeyedBody,
    openapi::Act,
    resolve::{Refusals, annotation::check_budget},
};
use crate::{
    domain::{Allowance, AnnotationSpec, Budget, Job, JobId, JobSpec, JobState},
    store::Resumed,
};

/// How a job is resumed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"budget": {"max_usd": 20.0}}))]
pub struct ResumeRequest {
    /// What an annotation may cost from now on, what it has spent included; it takes the place of the budget that the job had.
    /// Left out, that one stays.
    #[serde(default)]
    budget: Option<Budget>,
}

/// Resume a job that was paused; what was done is kept.
///
/// | the job is | what happens |
/// |---|---|
/// | paused | it is queued at the place it had; a training continues from its snapshot, an annotation with the answers it has. An annotation that was paused because its first rows went wrong goes on with the rest |
/// | running, and asked to pause | the request is withdrawn; where its worker has begun to stop, the job goes back to the queue instead |
/// | queued, running | nothing; it is returned as it is |
/// | over | 409 `job_is_over` |
///
/// An annotation that was paused because its budget is spent is resumed with a larger one: `{"budget": {"max_usd": 20}}`. A
/// budget is refused with 409 `job_is_not_paused` while the job is anything else than paused.
#[utoipa::path(post, path = "/v1/jobs/{id}/resume", tag = "jobs",
    params(("id" = JobId, Path, description = "The job", example = "job-0198f1e2b7c67d2ea1b3c4d5e6f70819"), KeyHeader),
    request_body(content = Option<ResumeRequest>, description = "How it is resumed; may be left out",
        example = json!({"budget": {"max_usd": 20.0}})),
    responses((status = 200, description = "The job as it stands now", body = JobResource), Act))]
pub async fn resume_job(
    state: ProjectState,
    id: Id<JobId>,
    body: KeyedBody<ResumeRequest>,
) -> Result<Response, ApiError> {
    let KeyedBody { request, key, bytes } = body;
    let resume = async || {
        if let Some(budget) = &request.budget {
            check(&state, &find(&state, id).await?, budget).await?;
        }
        resumed(&state, id, request.budget.as_ref()).await
    };
    act(&state, Requested { key, route: "POST /v1/jobs/{id}/resume", id, body: bytes }, resume).await
}

/// The job after it was resumed, if it can still be.
pub(super) async fn resumed(state: &ProjectState, id: Id<JobId>, budget: Option<&Budget>) -> Result<Job, ApiError> {
    let resumed = state.store.resume_job(state.project, id.0, budget).await?;
    match resumed.ok_or_else(|| id.missing())? {
        Resumed::Job(job) => refuse_over(&job).map(|()| *job).map_err(ApiError::from),
        // Somebody else has resumed or cancelled it since it was looked at.
        Resumed::NotPaused(state) if state.is_terminal() => Err(JobConflict::Over { job: id.0, state }.into()),
        Resumed::NotPaused(_) => Err(JobConflict::NotPaused(id.0).into()),
    }
}

/// A budget that the job can go on with.
async fn check(state: &ProjectState, job: &Job, budget: &Budget) -> Result<(), ApiError> {
    refuse_over(job)?;
    let JobSpec::Annotation(AnnotationSpec { teacher, .. }) = &job.spec else {
        let detail = format!("{} is no annotation, and only those have a budget; leave it out", job.id);
        return Err(ApiError::field("#/budget", "invalid_value", detail));
    };
    if job.state != JobState::Paused {
        return Err(JobConflict::NotPaused(job.id).into());
    }
    let mut refusals = Refusals::default();
    check_budget(state, &mut refusals, teacher, budget);
    let spent = state.store.annotation_sums(job.id).await?.spent();
    let prices = state.teachers.iter().find(|known| known.name == *teacher).map(|known| known.prices());
    let allowance = Allowance { budget: *budget, prices: prices.unwrap_or_default() };
    refusals.require(allowance.covers(spent), "#/budget", || {
        format!("the job has spent {} already; send a larger budget", allowance.prices.in_words(spent))
    });
    refusals.finish()
}
