//! What can be asked of a job that is there: cancel and pause, and in files of their own resume and retry, which may take a
//! body. Each may be repeated, and each answers with the job as it stands then.

use axum::response::Response;

use super::{
    ProjectState,
    error::ApiError,
    extract::{Id, Nothing, Query},
    idempotency::{Key, KeyHeader, fingerprint_about, once},
    job_conflict::JobConflict,
    job_form::{JobForm, Native},
    job_resource::JobResource,
    openapi::Act,
};
use crate::domain::{Job, JobId, JobState};

/// Cancel a job.
///
/// | the job is | what happens |
/// |---|---|
/// | queued, paused | it is cancelled at once |
/// | running | its worker is asked to stop (`cancel_requested`); a pause that was asked for is withdrawn |
/// | over | nothing; it is returned as it is |
///
/// A cancelled job can be retried. What a cancelled annotation had found by then is in its files and its `result` within
/// seconds, and an event `result_written` says so.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", tag = "jobs",
    params(("id" = JobId, Path, description = "The job", example = "job-0198f1e2b7c67d2ea1b3c4d5e6f70819"), KeyHeader),
    responses((status = 200, description = "The job as it stands now", body = JobResource), Act))]
pub async fn cancel_job(state: ProjectState, id: Id<JobId>, key: Key, _: Query<Nothing>) -> Result<Response, ApiError> {
    act(&state, Requested::plain(key, "POST /v1/jobs/{id}/cancel", id), async || cancelled(&state, id).await).await
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
pub async fn pause_job(state: ProjectState, id: Id<JobId>, key: Key, _: Query<Nothing>) -> Result<Response, ApiError> {
    act(&state, Requested::plain(key, "POST /v1/jobs/{id}/pause", id), async || paused(&state, id).await).await
}

/// The job after it was asked to be cancelled; one that is over as it is.
pub(super) async fn cancelled(state: &ProjectState, id: Id<JobId>) -> Result<Job, ApiError> {
    state.store.cancel_job(state.project, id.0).await?.ok_or_else(|| id.missing())
}

/// The job after it was asked to pause, if it can still be.
pub(super) async fn paused(state: &ProjectState, id: Id<JobId>) -> Result<Job, ApiError> {
    let job = state.store.pause_job(state.project, id.0).await?.ok_or_else(|| id.missing())?;
    refuse_over(&job)?;
    match (job.state, job.cancel_requested_at) {
        (JobState::Running, Some(_)) => Err(JobConflict::CancelRequested(job.id).into()),
        _ => Ok(job),
    }
}

/// Nothing can be asked of a job that is over.
pub(super) fn refuse_over(job: &Job) -> Result<(), JobConflict> {
    if job.state.is_terminal() { Err(JobConflict::Over { job: job.id, state: job.state }) } else { Ok(()) }
}

/// A request about a job.
pub(super) struct Requested {
    pub(super) key: Key,
    pub(super) route: &'static str,
    pub(super) id: Id<JobId>,
    /// As it came; empty where there is none.
    pub(super) body: Vec<u8>,
}

impl Requested {
    /// A request without a body.
    pub(super) fn plain(key: Key, route: &'static str, id: Id<JobId>) -> Self {
        Self { key, route, id, body: Vec::new() }
    }
}

/// Moves a job once per key, and answers with the job as it stands then.
pub(super) async fn act(
    state: &ProjectState,
    requested: Requested,
    change: impl AsyncFnOnce() -> Result<Job, ApiError>,
) -> Result<Response, ApiError> {
    act_as::<Native>(state, requested, change).await
}

/// The same, with the answer in another form.
pub(super) async fn act_as<F: JobForm>(
    state: &ProjectState,
    requested: Requested,
    change: impl AsyncFnOnce() -> Result<Job, ApiError>,
) -> Result<Response, ApiError> {
    let moved = async |_| F::shown(state, change().await?).await;
    let fingerprint = fingerprint_about(&requested.id.0.to_string(), &requested.body);
    // Nothing is made, so that there is nothing to answer for again.
    once(state, requested.key, requested.route, fingerprint, moved, async |_| Err(ApiError::KeyBusy)).await
}
