//! A job's form on the wire: one shape for every kind.

use chrono::DateTime;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{ProjectState, error::ApiError, job_result::JobResult};
use crate::{
    domain::{
        Estimate, EstimateError, EstimateFigure, Job, JobError, JobId, JobKind, JobSpec, JobState, JobWarning,
        PauseReason, Progress,
    },
    store::QueuePlace,
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
    /// Whether it is over: poll until this is true. Only a retry moves it then.
    terminal: bool,
    /// How far it is, once it has said so; until a new attempt says so, how far the one before it was.
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
    /// What a succeeded job found; its form depends on the kind. An annotation that failed or was cancelled has one as well,
    /// with what it had found by then, within seconds of its end. A retry takes it away; its files stay.
    #[schema(required = true, value_type = Option<JobResult>)]
    result: Option<Value>,
    /// Why it failed, or why its last attempt did.
    #[schema(required = true)]
    error: Option<JobError>,
    /// Why it is paused.
    #[schema(required = true)]
    pause_reason: Option<PauseReason>,
    /// Whether somebody asked to cancel it.
    #[schema(example = false)]
    cancel_requested: bool,
    /// Whether somebody asked to pause it and its worker has not stopped yet.
    #[schema(example = false)]
    pause_requested: bool,
    /// What the user should know though it stops nothing.
    warnings: Vec<JobWarning>,
    /// The user's own labels.
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    /// When it was submitted, in Unix seconds.
    created_at: i64,
    /// What it was thought to take when it was submitted; null where nothing could be said.
    #[schema(required = true)]
    estimate: Option<Estimate>,
    /// That against what it took, by figure; null until it has succeeded.
    #[schema(required = true, value_type = Option<HashMap<String, EstimateFigure>>)]
    estimate_error: Option<EstimateError>,
    /// When its first attempt began, in Unix seconds; no later attempt and no retry changes that.
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
    /// Seconds until it is done at the pace of the running attempt; null while that cannot be told.
    #[schema(required = true)]
    seconds_remaining: Option<i64>,
}

/// Where a queued job stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueuePlace)]
#[serde(deny_unknown_fields)]
pub struct QueueResource {
    /// Its place among the jobs of its kind that may run now, from 1.
    #[schema(example = 3)]
    position: i64,
    /// How many these are, itself included.
    #[schema(example = 5)]
    depth: i64,
    /// Jobs that must succeed before it may run.
    #[schema(example = json!([]))]
    waits_for: Vec<JobId>,
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
            pause_requested: job.pause_requested_at.is_some(),
            warnings: job.warnings,
            metadata: job.metadata,
            estimate: job.estimate,
            estimate_error: job.estimate_error,
            created_at: job.created_at.timestamp(),
            started_at: job.started_at.as_ref().map(DateTime::timestamp),
            finished_at: job.finished_at.as_ref().map(DateTime::timestamp),
        }
    }

    /// A job with its place in the queue.
    pub async fn with_place(state: &ProjectState, job: Job) -> Result<Self, ApiError> {
        let place = if job.state == JobState::Queued { state.store.queue_place(job.id).await? } else { None };
        let queue = place.map(|QueuePlace { position, depth, waits_for }| QueueResource { position, depth, waits_for });
        Ok(Self { queue, ..Self::of(job) })
    }
}

/// One job, or 404.
pub async fn find(state: &ProjectState, id: super::extract::Id<JobId>) -> Result<Job, ApiError> {
    state.store.job(state.project, id.0).await?.ok_or_else(|| id.missing())
}

/// How far the job is, and how long it will take.
pub(super) fn progress(job: &Job) -> Option<ProgressResource> {
    let progress = job.progress?;
    let share = if progress.total > 0 { progress.step as f64 / progress.total as f64 } else { 0.0 };
    Some(ProgressResource {
        step: progress.step,
        total: progress.total,
        percent: (share * 1000.0).round().clamp(0.0, 1000.0) / 10.0,
        seconds_remaining: seconds_remaining(job, progress),
    })
}

/// When it is done at the newest attempt's pace, in Unix seconds.
pub(super) fn estimated_finish(job: &Job) -> Option<i64> {
    Some(job.progress_at?.timestamp() + seconds_remaining(job, job.progress?)?)
}

/// The newest attempt's pace, carried on. Both instants are Postgres's.
fn seconds_remaining(job: &Job, progress: Progress) -> Option<i64> {
    let (from, since) = job.pace_from.filter(|_| job.state == JobState::Running)?;
    let (done, left) = (progress.step - from, (progress.total - progress.step).max(0));
    let so_far = (job.progress_at? - since).as_seconds_f64();
    (done > 0 && so_far >= 0.0).then(|| (so_far * left as f64 / done as f64).round() as i64)
}
