//! One attempt at one job: its lease, the beats that keep it, and why it may have to stop.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tokio::{sync::Notify, task::JoinHandle};

use super::Worker;
use crate::{
    artifacts::ArtifactError,
    domain::{Job, JobError, Lease, LeaseTerms},
    registry::RegistryError,
    shutdown::Shutdown,
    store::{Store, StoreError},
    telemetry::chain,
};

/// Why an attempt stops before its work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Somebody cancelled the job.
    Cancelled,
    /// This process is asked to end.
    Draining,
    /// The lease is somebody else's, or may be: nothing more may be written.
    Lost,
}

/// How an attempt ends without a result.
#[derive(Debug)]
pub enum AttemptError {
    /// It was told to.
    Stopped(Stop),
    /// It could not.
    Failed {
        /// Why.
        error: JobError,
        /// Whether another attempt could do better.
        retryable: bool,
    },
}

impl AttemptError {
    /// A failure that no further attempt can mend.
    pub fn fatal(error: JobError) -> Self {
        Self::Failed { error, retryable: false }
    }

    /// A failure that may pass.
    pub fn passing(error: JobError) -> Self {
        Self::Failed { error, retryable: true }
    }
}

impl From<StoreError> for AttemptError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LeaseLost(_) => Self::Stopped(Stop::Lost),
            error => Self::passing(JobError::new("database_error", chain(&error))),
        }
    }
}

impl From<ArtifactError> for AttemptError {
    fn from(error: ArtifactError) -> Self {
        match error {
            ArtifactError::Missing { .. } | ArtifactError::Corrupt { .. } | ArtifactError::BrokenManifest { .. } => {
                Self::fatal(JobError::new("artifact_unusable", error.to_string()))
            }
            error => Self::passing(JobError::new("artifact_store_failed", chain(&error))),
        }
    }
}

impl From<RegistryError> for AttemptError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Artifact(error) => error.into(),
            RegistryError::Store(error) => error.into(),
            error => Self::fatal(JobError::new("model_unusable", chain(&error))),
        }
    }
}

/// A claimed job while it is worked on.
#[derive(Debug)]
pub struct Attempt {
    /// The job as it was claimed.
    pub job: Job,
    /// The hold on it.
    pub lease: Lease,
    store: Store,
    signal: Arc<Signal>,
    beats: JoinHandle<()>,
}

/// Told once; the first reason counts, except that a lost lease overrides a request.
#[derive(Debug, Default)]
struct Signal {
    requested: OnceLock<Stop>,
    lost: OnceLock<()>,
    changed: Notify,
}

impl Signal {
    fn stop(&self, why: Stop) {
        if why == Stop::Lost {
            self.lost.get_or_init(|| ());
        }
        self.requested.get_or_init(|| why);
        self.changed.notify_waiters();
    }

    fn stopped(&self) -> Option<Stop> {
        if self.lost.get().is_some() { Some(Stop::Lost) } else { self.requested.get().copied() }
    }
}

impl Attempt {
    pub(super) fn begin(worker: &Worker, job: Job, lease: Lease, shutdown: &Shutdown) -> Self {
        let signal = Arc::new(Signal::default());
        let beats = Beats {
            store: worker.beat_store.clone(),
            lease,
            terms: worker.terms,
            wake: Arc::clone(&worker.wake),
            signal: Arc::clone(&signal),
            shutdown: shutdown.clone(),
        };
        Self { job, lease, store: worker.store.clone(), signal, beats: tokio::spawn(beats.keep()) }
    }

    /// The job's store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Why this attempt must stop, if it must. Work looks here between its steps.
    pub fn stopped(&self) -> Option<Stop> {
        self.signal.stopped()
    }

    /// An error as soon as the attempt must stop.
    pub fn check(&self) -> Result<(), AttemptError> {
        self.stopped().map_or(Ok(()), |stop| Err(AttemptError::Stopped(stop)))
    }

    /// Waits until the attempt must stop.
    pub async fn until_stopped(&self) -> Stop {
        loop {
            let changed = self.signal.changed.notified();
            if let Some(stop) = self.stopped() {
                return stop;
            }
            changed.await;
        }
    }

    /// A write that outlasts an outage of the database: tried again until it is through or the lease is lost.
    pub async fn persist<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        write: impl Fn() -> F,
    ) -> Result<T, AttemptError> {
        let mut pause = Duration::from_millis(100);
        loop {
            match write().await {
                Err(error) if error.is_unavailable() && self.stopped() != Some(Stop::Lost) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                Err(error) if error.is_unavailable() => return Err(AttemptError::Stopped(Stop::Lost)),
                Err(StoreError::LeaseLost(lease)) => {
                    self.signal.stop(Stop::Lost);
                    return Err(StoreError::LeaseLost(lease).into());
                }
                result => return Ok(result?),
            }
        }
    }

    /// Stops the beats, after the attempt's end is written.
    pub(super) fn end(self) {
        self.beats.abort();
    }
}

/// The loop that renews a lease.
struct Beats {
    store: Store,
    lease: Lease,
    terms: LeaseTerms,
    wake: Arc<Notify>,
    signal: Arc<Signal>,
    shutdown: Shutdown,
}

impl Beats {
    async fn keep(self) {
        let mut acknowledged = Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.terms.beat) => {}
                // A change of some job, perhaps a cancel of this one; the short wait keeps a storm from becoming one.
                () = self.wake.notified() => tokio::time::sleep(Duration::from_millis(50)).await,
                () = self.shutdown.cancelled(), if self.signal.stopped().is_none() => self.signal.stop(Stop::Draining),
            }
            let sent = Instant::now();
            let patience = self.terms.self_fence().saturating_sub(acknowledged.elapsed()).min(self.terms.beat);
            match tokio::time::timeout(patience, self.store.beat(&[self.lease], &self.terms)).await {
                Ok(Ok(beats)) => match beats.iter().find(|beat| beat.lease == self.lease) {
                    None => return self.signal.stop(Stop::Lost),
                    Some(beat) => {
                        acknowledged = sent;
                        if beat.cancel_requested {
                            self.signal.stop(Stop::Cancelled);
                        }
                    }
                },
                Ok(Err(error)) => tracing::warn!(job = %self.lease.job_id, %error, "a beat failed"),
                Err(_) => tracing::warn!(job = %self.lease.job_id, "a beat was not answered in time"),
            }
            if acknowledged.elapsed() >= self.terms.self_fence() {
                return self.signal.stop(Stop::Lost);
            }
        }
    }
}
