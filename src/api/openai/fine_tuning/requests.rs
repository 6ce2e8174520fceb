//! What can be asked of a fine-tuning job: cancel, pause, resume. Each may be repeated.

use axum::response::Response;

use super::{
    find,
    job::{FineTuning, FineTuningJobResource},
};
use crate::{
    api::{
        ProjectState,
        error::ApiError,
        extract::{Id, Nothing, Query},
        idempotency::{Key, KeyHeader},
        job_conflict::JobConflict,
        job_requests::{Requested, act_as, cancelled, paused},
        job_resume::resumed,
        openapi::Act,
    },
    domain::{Job, JobId, JobState},
};

/// Cancel a fine-tuning job. A running one is `running` until its worker has stopped. One that has succeeded or failed is refused
/// with 409 `job_is_over`, and with `x-should-retry: false`, so that SDKs do not send it again.
#[utoipa::path(post, path = "/v1/fine_tuning/jobs/{id}/cancel", tag = "openai",
    params(("id" = JobId, Path, description = "The job"), KeyHeader),
    responses((status = 200, description = "The job as it stands now", body = FineTuningJobResource), Act))]
pub async fn cancel_fine_tuning_job(
    state: ProjectState,
    id: Id<JobId>,
    key: Key,
    _: Query<Nothing>,
) -> Result<Response, ApiError> {
    let cancel = async || match cancelled(&state, id).await? {
        Job { state: state @ (JobState::Succeeded | JobState::Failed), .. } => {
            Err(JobConflict::Over { job: id.0, state }.into())
        }
        job => Ok(job),
    };
    asked(&state, Requested::plain(key, "POST /v1/fine_tuning/jobs/{id}/cancel", id), cancel).await
}

/// Pause a fine-tuning job: a running one is `running` until it has written a snapshot. Refused as `/v1/jobs/{id}/pause` is.
#[utoipa::path(post, path = "/v1/fine_tuning/jobs/{id}/pause", tag = "openai",
    params(("id" = JobId, Path, description = "The job"), KeyHeader),
    responses((status = 200, description = "The job as it stands now", body = FineTuningJobResource), Act))]
pub async fn pause_fine_tuning_job(
    state: ProjectState,
    id: Id<JobId>,
    key: Key,
    _: Query<Nothing>,
) -> Result<Response, ApiError> {
    let pause = async || paused(&state, id).await;
    asked(&state, Requested::plain(key, "POST /v1/fine_tuning/jobs/{id}/pause", id), pause).await
}

/// Resume a paused fine-tuning job: it is queued, and goes on from its snapshot.
#[utoipa::path(post, path = "/v1/fine_tuning/jobs/{id}/resume", tag = "openai",
    params(("id" = JobId, Path, description = "The job"), KeyHeader),
    responses((status = 200, description = "The job as it stands now", body = FineTuningJobResource), Act))]
pub async fn resume_fine_tuning_job(
    state: ProjectState,
    id: Id<JobId>,
    key: Key,
    _: Query<Nothing>,
) -> Result<Response, ApiError> {
    let resume = async || resumed(&state, id, None).await;
    asked(&state, Requested::plain(key, "POST /v1/fine_tuning/jobs/{id}/resume", id), resume).await
}

/// Moves a distillation. A job's kind never changes, so that it is looked at first.
async fn asked(
    state: &ProjectState,
    requested: Requested,
    change: impl AsyncFnOnce() -> Result<Job, ApiError>,
) -> Result<Response, ApiError> {
    find(state, requested.id).await?;
    act_as::<FineTuning>(state, requested, change).await
}
