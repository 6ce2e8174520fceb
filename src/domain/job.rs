//! A job, its states, and what moves it from one to the next.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Estimate, EstimateError, FileId, JobId, JobSpec, JobWarning, ProjectId, UnknownName, WorkerId,
    unknown_name::by_name,
};

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// A teacher answers each example with a rationale and a label.
    Annotation,
    /// A student learns from examples.
    Distillation,
    /// Models answer the rows of one file and are scored.
    Evaluation,
}

impl JobKind {
    /// Every kind, in the order of the road.
    pub const ALL: [Self; 3] = [Self::Annotation, Self::Distillation, Self::Evaluation];

    /// The kind's name in SQL, JSON and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Annotation => "annotation",
            Self::Distillation => "distillation",
            Self::Evaluation => "evaluation",
        }
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for a worker, for its `run_at`, or for the jobs it depends on. In: create, a failed attempt with attempts
    /// left, the reaper, a draining worker, resume, retry. Out: claim, pause, cancel, a failed dependency. A crash leaves
    /// it as it is.
    Queued,
    /// A worker holds the lease. In: claim. Out: finish, fail, release, the reaper when the lease expires. A crash
    /// leaves the row running until the lease expires.
    Running,
    /// Stopped on purpose, to be resumed; what was done is kept. In: pause of a queued job; fail, release and the reaper
    /// where a pause was asked for; an annotation whose budget is spent or whose first rows fail. Out: resume, cancel, a failed dependency.
    Paused,
    /// Done, with a result. Terminal. In: finish.
    Succeeded,
    /// Given up, with an error. Terminal, but for a retry. In: fail, the reaper, a failed dependency.
    Failed,
    /// Stopped for good by a request. Terminal, but for a retry. In: cancel, or a running job's worker that saw the
    /// request.
    Cancelled,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Paused, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The state's name in SQL, JSON and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing moves the job any more by itself: only a retry, and that only where it has not succeeded.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// Why a job is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    /// Somebody asked for it.
    User,
    /// The budget is spent.
    Budget,
    /// The first rows did not parse.
    Smoke,
    /// The disk is full.
    Disk,
}

impl PauseReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::User, Self::Budget, Self::Smoke, Self::Disk];

    /// The reason's name in SQL, JSON and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Budget => "budget",
            Self::Smoke => "smoke",
            Self::Disk => "disk",
        }
    }
}

impl FromStr for JobKind {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        by_name("job kind", &Self::ALL, Self::as_str, name)
    }
}

impl FromStr for JobState {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        by_name("job state", &Self::ALL, Self::as_str, name)
    }
}

impl FromStr for PauseReason {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        by_name("pause reason", &Self::ALL, Self::as_str, name)
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a job is: optimizer steps of a distillation, examples of an annotation or evaluation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done.
    pub step: i64,
    /// Steps in all.
    pub total: i64,
}

/// Why a job or an attempt failed: a stable code, a sentence, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{code}: {message}")]
pub struct JobError {
    /// A stable name to branch on, such as `teacher_unreachable`.
    pub code: String,
    /// What happened, naming the thing.
    pub message: String,
    /// What would help; null where there is no advice.
    pub hint: Option<String>,
}

impl JobError {
    /// The code of an attempt that could not continue from the snapshot it was given: it may begin without it.
    pub const SNAPSHOT_UNUSABLE: &str = "snapshot_unusable";

    /// The code of an attempt that needed more memory than there was. Where its process died of it, another may go on with a
    /// smaller micro-batch.
    pub const OUT_OF_MEMORY: &str = "out_of_memory";

    /// An error without a hint.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), hint: None }
    }

    /// The same with advice.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A job as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The project it belongs to.
    pub project_id: ProjectId,
    /// Where it stands.
    pub state: JobState,
    /// What it does, with every default filled in.
    pub spec: JobSpec,
    /// Higher runs sooner.
    pub priority: i32,
    /// How far it is, once it has said so.
    pub progress: Option<Progress>,
    /// When the progress was last written.
    pub progress_at: Option<DateTime<Utc>>,
    /// What a succeeded job found, or an annotation that failed or was cancelled had found by then; its form depends on the
    /// kind.
    pub result: Option<serde_json::Value>,
    /// Why it failed, or why its last attempt did.
    pub error: Option<JobError>,
    /// Attempts begun.
    pub attempt: i32,
    /// Attempts allowed.
    pub max_attempts: i32,
    /// Leases lost since the job last moved forward.
    pub lost_count: i32,
    /// The number of the newest lease; only ever grows, at claim.
    pub lease_epoch: i64,
    /// Who holds the lease.
    pub lease_owner: Option<WorkerId>,
    /// Jobs that must succeed first.
    pub depends_on: Vec<JobId>,
    /// Why it is paused.
    pub pause_reason: Option<PauseReason>,
    /// When somebody asked to cancel it.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// When somebody asked to pause it while it was running.
    pub pause_requested_at: Option<DateTime<Utc>>,
    /// What the user should know.
    pub warnings: Vec<JobWarning>,
    /// The user's own labels.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// When it may run next.
    pub run_at: DateTime<Utc>,
    /// When its first attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// The step from which the newest attempt's pace counts, and when that attempt began.
    pub pace_from: Option<(i64, DateTime<Utc>)>,
    /// When it became terminal.
    pub finished_at: Option<DateTime<Utc>>,
    /// What it was thought to take when it was submitted.
    pub estimate: Option<Estimate>,
    /// That against what it took.
    pub estimate_error: Option<EstimateError>,
}

impl Job {
    /// What the job does.
    pub fn kind(&self) -> JobKind {
        self.spec.kind()
    }

    /// The file of rows that an annotation or an evaluation left.
    pub fn output_file(&self) -> Option<FileId> {
        self.result.as_ref()?.get("output_file")?.as_str()?.parse().ok()
    }
}
