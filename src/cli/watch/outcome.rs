//! How watching ends, and what the process says by its exit code.

use std::process::ExitCode;

use crate::domain::JobState;

/// How watching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The job succeeded.
    Succeeded,
    /// The job failed.
    Failed,
    /// The job was cancelled.
    Cancelled,
    /// The service did not answer for too long.
    Unreachable,
    /// The service has no such job.
    NoSuchJob,
    /// Something answers, and not as stepwise does.
    Refused,
    /// The person who watched left.
    Interrupted,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 7] = [
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Unreachable,
        Self::NoSuchJob,
        Self::Refused,
        Self::Interrupted,
    ];

    /// The outcome of a job that is over.
    pub fn of(state: JobState) -> Option<Self> {
        match state {
            JobState::Succeeded => Some(Self::Succeeded),
            JobState::Failed => Some(Self::Failed),
            JobState::Cancelled => Some(Self::Cancelled),
            JobState::Queued | JobState::Running | JobState::Paused => None,
        }
    }

    /// What the process ends with. 2 is left out: it says that the command line or the settings were wrong.
    pub fn code(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::Failed => 1,
            Self::Cancelled => 3,
            Self::Unreachable => 4,
            Self::NoSuchJob => 5,
            Self::Refused => 6,
            Self::Interrupted => 130,
        }
    }

    /// The code's meaning.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Succeeded => "the job succeeded",
            Self::Failed => "the job failed",
            Self::Cancelled => "the job was cancelled",
            Self::Unreachable => "the service did not answer for longer than --give-up-after",
            Self::NoSuchJob => "the service has no such job",
            Self::Refused => "what answers at the address does not answer as stepwise does",
            Self::Interrupted => "interrupted; the job goes on",
        }
    }

    /// A name for machines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unreachable => "unreachable",
            Self::NoSuchJob => "no_such_job",
            Self::Refused => "refused",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome.code())
    }
}

/// The end of `--help`.
pub fn exit_codes() -> String {
    let mut lines: Vec<(u8, &str)> =
        Outcome::ALL.into_iter().map(|outcome| (outcome.code(), outcome.meaning())).collect();
    lines.push((super::super::USAGE, "the command line or a setting is wrong"));
    lines.sort_unstable();
    let lines: String = lines.iter().map(|(code, meaning)| format!("\n  {code:>3}  {meaning}")).collect();
    format!("Exit codes:{lines}")
}
