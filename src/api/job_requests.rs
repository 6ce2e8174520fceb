//! What can be asked of a job that is there: cancel, pause, resume, retry. None takes a body, each may be repeated, and
//! each answers with the job as it stands then.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};

use super::{
    AppState,
    error::ApiError,
    extract::{Id, Nothing, Query},
    idempotency::{Key, KeyHeader, digest, once},
    job_conflict::JobConflict,
    job_resource::JobResource,
    openapi::Act,
};
use crate::{
    domain::{Job, JobId, JobState},
    store::{Retried, Store},
};

/// Cancel a job.
///
/// | the job is | what happens |
/// |---|---|
/// | queued, paused | it is cancelled at once |
/// | running | its worker is asked to stop (`cancel_requested`); a pause that was asked for is withdrawn |
/// | over | nothing; it is returned as it is |
///
/// A cancelled job can be retried. What a cancelled annotation had found by then is in its files and its `result` within
/// seconds.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", tag = "jobs",
    params(("id" = JobId, Path, description = "The job", example = "job-0198f1e2b7c67d2ea1b3c4d5e6f70819"), KeyHeader),
    responses((status = 200, description = "The job as it stands now", body = JobResource), Act))]
pub async fn cancel_job(
    State(state): State<AppState>,
    id: Id<JobId>,
    key: Key,
    _: Query<Nothing>,
) -> Result<Response, ApiError> {
    let cancel = async || state.store.cancel_job(Store::default_project(), id.0).await?.ok_or_else(|| id.missing());
    act(&state, key, "POST /v1/jobs/{id}/cancel", id, cancel).await
}

/// Pause a job: it stops without losing what was done, until it is resumed.
///
/// | the job is | what happens |
/// |---|---|
/// | queued | it is paused at once, with the reason `user` |
/// | running | its worker is asked to stop (`pause_requested`) and the job becomes paused when it has: a training writes a snapshot, an annotation waits for the answers that are on their way, an evaluation will begin anew |
/// | paused, or asked to pause | nothing; it is returned as it is |
/// | running, and being cancelled | 409 `cancel_requested` |
/// | over | 409 `job_is_over` |
///
/// The attempt that was interrupted does not count. A job that finishes or fails for good before its worker has seen the
/// request is not paused.
#[utoipa::path(post, path = "/v1/jobs/{id}/pause", tag = "jobs",
    params(("id" = JobId, Path, description = "The job", example = "job-0198f1e2b7c67d2ea1b3c4d5e6f70819"), KeyHeader),
    responses((status = 200, description = "The job as it stands now", body = JobResource), Act))]
pub async fn pause_job(
    State(state): State<AppState>,
    id: Id<JobId>,
    key: Key,
    _: Query<Nothing>,
) -> Result<Response, ApiError> {
    let pause = async || {
        let job = state.store.pause_job(Store::default_project(), id.0).await?.ok_or_else(|| id.missing())?;
        refuse_over(&job)?;
        match (job.state, job.cancel_requested_at) {
            (JobState::Running, Some(_)) => Err(JobConflict::CancelRequested(job.id).into()),
            _ => Ok(job),
        }
    };
    act(&state, key, "POST /v1/jobs/{id}/pause", id, pause).await
}

/// Resume a job that was paused; what was done is kept.
///
/// | the job is | what happens |
/// |---|---|
/// | paused | it is queued at the place it had; a training continues from its snapshot, an annotation with the answers it has |
/// | running, and asked to pause | the request is withdrawn; where its worker has begun to stop, the job goes back to the queue instead |
/// | queued, running | nothing; it is returned as it is |
/// | over | 409 `job_is_over` |
#[utoipa::path(post, path = "/v1/jobs/{id}/resume", tag = "jobs",
    params(("id" = JobId, Path, description = "The job", example = "job-0198f1e2b7c67d2ea1b3c4d5e6f70819"), KeyHeader),
    responses((status = 200, description = "The job as it stands now", body = JobResource), Act))]
pub async fn resume_job(
    State(state): State<AppState>,
    id: Id<JobId>,
    key: Key,
    _: Query<Nothing>,
) -> Result<Response, ApiError> {
    let resume = async || {
        let job = state.store.resume_job(Store::default_project(), id.0).await?.ok_or_else(|| id.missing())?;
        refuse_over(&job)?;
        Ok(job)
    };
    act(&state, key, "POST /v1/jobs/{id}/resume", id, resume).await
}

/// Retry a job that failed or was cancelled, with all its attempts before it.
///
/// | the job is | what happens |
/// |---|---|
/// | failed, cancelled | it is queued; its error, its result and its requests are cleared. Answers of a teacher and the newest snapshot are kept, so that nothing is paid for twice and a training continues |
/// | queued, running | nothing; it is returned as it is |
/// | paused | 409 `job_is_paused`: resume it |
/// | succeeded | 409 `job_is_over`: submit a new job |
///
/// Refused with 409 `file_deleted` when a file that it reads was deleted, with 409 `model_deleted` when a model or checkpoint
/// that it trains from or scores was deleted, and with 409 `dependency_failed` while a job that it depends on has failed or
/// was cancelled.
#[utoipa::path(post, path = "/v1/jobs/{id}/retry", tag = "jobs",
    params(("id" = JobId, Path, description = "The job", example = "job-0198f1e2b7c67d2ea1b3c4d5e6f70819"), KeyHeader),
    responses((status = 200, description = "The job as it stands now", body = JobResource), Act))]
pub async fn retry_job(
    State(state): State<AppState>,
    id: Id<JobId>,
    key: Key,
    _: Query<Nothing>,
) -> Result<Response, ApiError> {
    act(&state, key, "POST /v1/jobs/{id}/retry", id, async || retried(&state, id).await).await
}

async fn retried(state: &AppState, id: Id<JobId>) -> Result<Job, ApiError> {
    let job = id.0;
    match state.store.retry_job(Store::default_project(), job).await?.ok_or_else(|| id.missing())? {
        Retried::FileDeleted(file) => Err(JobConflict::FileDeleted { job, file }.into()),
        Retried::ModelDeleted(model) => Err(JobConflict::ModelDeleted { job, model }.into()),
        Retried::ParentOver(parent, state) => Err(JobConflict::ParentOver { job, parent, state }.into()),
        Retried::Job(job) => match job.state {
            JobState::Succeeded => Err(JobConflict::Over { job: job.id, state: job.state }.into()),
            JobState::Paused => Err(JobConflict::Paused(job.id).into()),
            _ => Ok(*job),
        },
    }
}

fn refuse_over(job: &Job) -> Result<(), JobConflict> {
    if job.state.is_terminal() { Err(JobConflict::Over { job: job.id, state: job.state }) } else { Ok(()) }
}

/// Moves a job once per key, and answers with the job as it stands then.
async fn act(
    state: &AppState,
    key: Key,
    route: &'static str,
    id: Id<JobId>,
    change: impl AsyncFnOnce() -> Result<Job, ApiError>,
) -> Result<Response, ApiError> {
    let moved = async |_| Ok(Json(JobResource::with_place(state, change().await?).await?).into_response());
    let fingerprint = digest(&[id.0.to_string().as_bytes()]);
    // Nothing is made, so that there is nothing to answer for again.
    once(state, key, route, fingerprint, moved, async |_| Err(ApiError::KeyBusy)).await
}
