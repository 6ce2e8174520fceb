//! A worker's hold on a job.

use std::time::Duration;

use super::JobId;

/// Proof that a worker held a job at claim time. Every later write of that worker carries it, and a write whose epoch is
/// no longer the row's touches nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The held job.
    pub job_id: JobId,
    /// The job's `lease_epoch` at claim. Not the attempt: attempts go down again when a worker drains.
    pub epoch: i64,
}

/// How long a lease lasts and how often it is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerms {
    /// A lease not renewed for this long is lost.
    pub duration: Duration,
    /// Time between renewals; at most a third of `duration`, so that two lost beats do no harm.
    pub beat: Duration,
}

impl Default for LeaseTerms {
    fn default() -> Self {
        Self { duration: Duration::from_secs(30), beat: Duration::from_secs(10) }
    }
}

impl LeaseTerms {
    /// When a worker that got no answer must stop on its own clock: before anybody else can hold the job.
    pub fn self_fence(&self) -> Duration {
        self.duration.saturating_sub(self.beat)
    }
}
