//! What cannot be asked of a job in the state that it is in, and what can be asked instead.

use crate::domain::{FileId, JobId, JobState};

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
        }
    }
}

fn remedy(state: JobState) -> &'static str {
    if state == JobState::Succeeded { "submit a new job to do it again" } else { "retry it, or submit a new job" }
}
