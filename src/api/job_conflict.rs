//! What cannot be asked of a job in the state that it is in, and what can be asked instead.

use crate::domain::{FileId, JobId, JobKind, JobState};

/// Why a job stays as it is. Asking again would find the same.
#[derive(Debug, thiserror::Error)]
pub enum JobConflict {
    /// Nothing is left to pause, to resume or to retry.
    #[error("{job} is over ({state}); {}", remedy(*.state))]
    Over {
        /// The job.
        job: JobId,
        /// How it ended.
        state: JobState,
    },
    /// A retry of a job that was never over.
    #[error("{0} is paused, not over; resume it")]
    Paused(JobId),
    /// A new budget for a job that is not paused: its worker would not learn of it.
    #[error("{0} is not paused; pause it, then resume it with the budget")]
    NotPaused(JobId),
    /// A pause of a job that is on its way to its end.
    #[error("{0} is being cancelled; wait until it is over, then retry it")]
    CancelRequested(JobId),
    /// A retry that would have nothing to read.
    #[error("{job} reads {file}, which was deleted or has expired; upload the rows again and submit a new job")]
    FileDeleted {
        /// The job.
        job: JobId,
        /// The file.
        file: FileId,
    },
    /// A retry that would have no model to train from or to score.
    #[error("{job} uses {model}, which was deleted; submit a new job with another model")]
    ModelDeleted {
        /// The job.
        job: JobId,
        /// The model or checkpoint.
        model: String,
    },
    /// A retry that would wait for what will not come.
    #[error("{job} depends on {parent}, which is over ({state}); retry that one first")]
    ParentOver {
        /// The job.
        job: JobId,
        /// The job that it depends on.
        parent: JobId,
        /// How that one ended.
        state: JobState,
    },
    /// Something that only annotations have.
    #[error("{job} is no annotation but of kind {kind}; it asks no teacher")]
    NotAnAnnotation {
        /// The job.
        job: JobId,
        /// What it does.
        kind: JobKind,
    },
    /// Asking again while it is still asking.
    #[error("{job} is {state}, not over; wait for its end, or cancel it, then ask again")]
    NotOver {
        /// The job.
        job: JobId,
        /// Where it stands.
        state: JobState,
    },
    /// Asking again about nothing.
    #[error("{0} has no example of these statuses; GET /v1/jobs/{0}/report counts them")]
    NothingToAsk(JobId),
    /// Asking again under the eyes of a job that learns from the answers.
    #[error("{reader} has begun to read the output of {job}; wait until it is over, or cancel it, then ask again")]
    OutputInUse {
        /// The job.
        job: JobId,
        /// The job that reads it.
        reader: JobId,
    },
}

impl JobConflict {
    /// A stable name to branch on.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Over { .. } => "job_is_over",
            Self::Paused(_) => "job_is_paused",
            Self::NotPaused(_) => "job_is_not_paused",
            Self::CancelRequested(_) => "cancel_requested",
            Self::FileDeleted { .. } => "file_deleted",
            Self::ModelDeleted { .. } => "model_deleted",
            Self::ParentOver { .. } => "dependency_failed",
            Self::NotAnAnnotation { .. } => "not_an_annotation",
            Self::NotOver { .. } => "job_is_not_over",
            Self::NothingToAsk(_) => "nothing_to_ask",
            Self::OutputInUse { .. } => "output_in_use",
        }
    }
}

fn remedy(state: JobState) -> &'static str {
    if state == JobState::Succeeded { "submit a new job to do it again" } else { "retry it, or submit a new job" }
}
