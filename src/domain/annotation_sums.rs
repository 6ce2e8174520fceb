//! What the verdicts and calls of an annotation job add up to.

use super::AnnotationStatus;

/// Sums over a job, all its attempts and workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnnotationSums {
    /// Verdicts, in the order of [`AnnotationStatus::ALL`].
    pub verdicts: [i64; AnnotationStatus::ALL.len()],
    /// Calls that were answered, and paid for.
    pub answered_calls: i64,
    /// Calls that failed, and cost nothing.
    pub failed_calls: i64,
    /// Calls of which nobody knows whether they were done and paid for.
    pub unknown_calls: i64,
    /// Answers that were taken from the ledger.
    pub reused_calls: i64,
    /// Tokens of answered calls.
    pub answered: Tokens,
    /// Tokens that were reserved for the unknown calls.
    pub unknown: Tokens,
    /// Tokens reserved for the calls under way.
    pub reserved: Tokens,
}

/// Tokens of prompts and of answers, which have prices of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of prompts.
    pub input: i64,
    /// Of answers.
    pub output: i64,
}

impl Tokens {
    /// Both kinds together.
    pub fn total(self) -> i64 {
        self.input.saturating_add(self.output)
    }

    /// These and those.
    pub fn plus(self, other: Self) -> Self {
        Self { input: self.input.saturating_add(other.input), output: self.output.saturating_add(other.output) }
    }
}

impl AnnotationSums {
    /// Verdicts of one status.
    pub fn of(&self, status: AnnotationStatus) -> i64 {
        AnnotationStatus::ALL.iter().zip(self.verdicts).find(|(own, _)| **own == status).map_or(0, |(_, count)| count)
    }

    /// Examples that have a verdict.
    pub fn settled(&self) -> i64 {
        self.verdicts.iter().sum()
    }

    /// What a budget counts as spent: an unknown call may have been paid for.
    pub fn spent(&self) -> Tokens {
        self.answered.plus(self.unknown)
    }
}
