//! A job's form on the wire: one shape for every kind.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{AppState, error::ApiError};
use crate::{
    domain::{Job, JobError, JobId, JobKind, JobSpec, JobState, PauseReason},
    store::{NewJob, Store, StoreError},
};

/// A job as clients see it. Every key is always there; null where there is nothing to say.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job)]
#[serde(deny_unknown_fields)]
pub struct JobResource {
    /// Its id.
    id: JobId,
    /// Always `job`.
    object: JobObject,
    /// What it does.
    kind: JobKind,
    /// Where it stands.
    state: JobState,
    /// Whether nothing can move it any more; poll until this is true.
    terminal: bool,
    /// How far it is, once it has said so.
    #[schema(required = true)]
    progress: Option<ProgressResource>,
    /// Its place in the queue while it is queued; in lists null.
    #[schema(required = true)]
    queue: Option<QueueResource>,
    /// Attempts begun.
    attempt: i32,
    /// Attempts allowed.
    max_attempts: i32,
    /// Higher runs sooner.
    priority: i32,
    /// Jobs that must succeed first.
    depends_on: Vec<JobId>,
    /// What was asked, with every default filled in.
    spec: JobSpec,
    /// What a succeeded job found; its form depends on the kind.
    #[schema(required = true, value_type = Option<Object>)]
    result: Option<Value>,
    /// Why it failed, or why its last attempt did.
    #[schema(required = true)]
    error: Option<JobError>,
    /// Why it is paused.
    #[schema(required = true)]
    pause_reason: Option<PauseReason>,
    /// Whether somebody asked to cancel it.
    cancel_requested: bool,
    /// The user's own labels.
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    /// When it was submitted, in Unix seconds.
    created_at: i64,
    /// When its first attempt began, in Unix seconds.
    #[schema(required = true)]
    started_at: Option<i64>,
    /// When it became terminal, in Unix seconds.
    #[schema(required = true)]
    finished_at: Option<i64>,
}

/// The one value of a job's `object`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobObject {
    /// It is a job.
    Job,
}

/// How far a job is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Progress)]
#[serde(deny_unknown_fields)]
pub struct ProgressResource {
    /// Optimizer steps of a distillation, examples of an annotation or evaluation.
    step: i64,
    /// Steps in all.
    total: i64,
    /// The same in percent, 0 to 100.
    percent: f64,
    /// Seconds until it is done at its pace so far; null while that cannot be told.
    #[schema(required = true)]
    seconds_remaining: Option<i64>,
}

/// Where a queued job stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueuePlace)]
#[serde(deny_unknown_fields)]
pub struct QueueResource {
    /// Its place, from 1.
    position: i64,
}

impl JobResource {
    /// A job without its place in the queue.
    pub fn of(job: Job) -> Self {
        Self {
            id: job.id,
            object: JobObject::Job,
            kind: job.kind(),
            state: job.state,
            terminal: job.state.is_terminal(),
            progress: progress(&job),
            queue: None,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            priority: job.priority,
            depends_on: job.depends_on,
            spec: job.spec,
            result: job.result,
            error: job.error,
            pause_reason: job.pause_reason,
            cancel_requested: job.cancel_requested_at.is_some(),
            metadata: job.metadata,
            created_at: job.created_at.timestamp(),
            started_at: job.started_at.as_ref().map(DateTime::timestamp),
            finished_at: job.finished_at.as_ref().map(DateTime::timestamp),
        }
    }

    /// A job with its place in the queue.
    pub async fn with_place(state: &AppState, job: Job) -> Result<Self, ApiError> {
        let position = if job.state == JobState::Queued { state.store.queue_position(job.id).await? } else { None };
        Ok(Self { queue: position.map(|position| QueueResource { position }), ..Self::of(job) })
    }
}

/// Queues a resolved job and answers 201 with its place.
pub async fn submit(state: &AppState, new: &NewJob) -> Result<Response, ApiError> {
    let job = state.store.create_job(new).await.map_err(gone)?;
    let location = HeaderValue::try_from(format!("/v1/jobs/{}", job.id)).expect("an id is plain ASCII");
    let body = JobResource::with_place(state, job).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(body)).into_response())
}

/// What was there when the request was checked may be gone when the job is stored.
fn gone(error: StoreError) -> ApiError {
    match error {
        StoreError::Missing { what, id } => {
            ApiError::field("#", "not_found", format!("{what} {id} is not there any more"))
        }
        other => other.into(),
    }
}

/// One job, or 404.
pub async fn find(state: &AppState, id: super::extract::Id<JobId>) -> Result<Job, ApiError> {
    state.store.job(Store::default_project(), id.0).await?.ok_or_else(|| id.missing())
}

fn progress(job: &Job) -> Option<ProgressResource> {
    let progress = job.progress?;
    let share = if progress.total > 0 { progress.step as f64 / progress.total as f64 } else { 0.0 };
    Some(ProgressResource {
        step: progress.step,
        total: progress.total,
        percent: (share * 1000.0).round().clamp(0.0, 1000.0) / 10.0,
        seconds_remaining: job.progress_at.and_then(|at| seconds_remaining(job, share, at)),
    })
}

/// The pace from the first start to the last word, carried on. Both instants are Postgres's.
fn seconds_remaining(job: &Job, share: f64, at: DateTime<Utc>) -> Option<i64> {
    let so_far = (at - job.started_at?).as_seconds_f64();
    let known = job.state == JobState::Running && share > 0.0 && so_far >= 0.0;
    known.then(|| (so_far * (1.0 - share) / share).round().max(0.0) as i64)
}
