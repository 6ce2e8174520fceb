//! One attempt at one job: its lease, the beats that keep it, and why it may have to stop.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Notify, task::JoinHandle};

use super::{
    AttemptError, Worker,
    hold::{Hold, Signal, Stop},
};
use crate::{
    domain::{Job, Lease, LeaseTerms},
    shutdown::Shutdown,
    store::{NewEvent, Store, StoreError},
};

/// A claimed job while it is worked on. Its lease is renewed as long as this value lives, and not a moment longer: work that
/// panics or is dropped must not hold its job for ever.
#[derive(Debug)]
pub struct Attempt {
    /// The job as it was claimed.
    pub job: Job,
    /// The hold on it.
    pub lease: Lease,
    hold: Hold,
    drain_for: Duration,
    beats: JoinHandle<()>,
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
        let hold = Hold { lease, store: worker.store.clone(), signal };
        Self { job, lease, hold, drain_for: worker.drain_for, beats: tokio::spawn(beats.keep()) }
    }

    /// The job's store.
    pub fn store(&self) -> &Store {
        &self.hold.store
    }

    /// The hold on it, for tasks beside the attempt's own.
    pub fn hold(&self) -> &Hold {
        &self.hold
    }

    /// Why this attempt must stop, if it must. Work looks here between its steps.
    pub fn stopped(&self) -> Option<Stop> {
        self.hold.signal.stopped()
    }

    /// An error as soon as the attempt must stop.
    pub fn check(&self) -> Result<(), AttemptError> {
        self.stopped().map_or(Ok(()), |stop| Err(AttemptError::Stopped(stop)))
    }

    /// Waits until the attempt must stop.
    pub async fn until_stopped(&self) -> Stop {
        self.until_stopped_beyond(None).await
    }

    /// Waits until there is a more urgent reason to stop than this one.
    pub async fn until_stopped_beyond(&self, known: Option<Stop>) -> Stop {
        loop {
            let changed = self.hold.signal.changed.notified();
            if let Some(stop) = self.stopped().filter(|stop| Some(*stop) > known) {
                return stop;
            }
            changed.await;
        }
    }

    /// Waits until what was done can no longer be kept: the job is cancelled, the lease is lost, or the process has been
    /// ending for as long as it may.
    pub async fn until_out_of_time(&self) -> Stop {
        let mut stop = self.until_stopped().await;
        while stop < Stop::Draining {
            stop = self.until_stopped_beyond(Some(stop)).await;
        }
        if stop > Stop::Draining {
            return stop;
        }
        // Counted from the signal, however many parts of the work have waited since.
        let spent = self.hold.signal.draining_since.get().map(Instant::elapsed).unwrap_or_default();
        tokio::select! {
            stop = self.until_stopped_beyond(Some(stop)) => stop,
            () = tokio::time::sleep(self.drain_for.saturating_sub(spent)) => Stop::Draining,
        }
    }

    /// Does a part of the work that is worth its time even when the job is paused or the process ends, for as long as there
    /// is time. It is dropped then: only what may stop anywhere belongs here, such as files that no row names yet.
    pub async fn in_time<T>(&self, work: impl Future<Output = Result<T, AttemptError>>) -> Result<T, AttemptError> {
        tokio::select! {
            done = work => done,
            stop = self.until_out_of_time() => Err(AttemptError::Stopped(stop)),
        }
    }

    /// Does a part of the work of which nothing is kept when the attempt stops, such as bringing inputs: it is dropped as
    /// soon as the attempt must stop.
    pub async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = Result<T, AttemptError>>,
    ) -> Result<T, AttemptError> {
        tokio::select! {
            done = work => done,
            stop = self.until_stopped() => Err(AttemptError::Stopped(stop)),
        }
    }

    /// A write that outlasts an outage of the database: tried again until it is through or the lease is lost.
    pub async fn persist<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        write: impl Fn() -> F,
    ) -> Result<T, AttemptError> {
        self.hold.persist(write).await
    }

    /// Writes an event of the job.
    pub async fn tell(&self, event: NewEvent) -> Result<(), AttemptError> {
        self.hold.tell(event).await
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
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
        let mut draining = false;
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.terms.beat) => {}
                // A change of some job, perhaps a request about this one; the short wait keeps a storm from becoming one.
                () = self.wake.notified() => tokio::time::sleep(Duration::from_millis(50)).await,
                () = self.shutdown.cancelled(), if !draining => {
                    draining = true;
                    self.signal.stop(Stop::Draining);
                }
            }
            let sent = Instant::now();
            let patience = self.terms.self_fence().saturating_sub(acknowledged.elapsed()).min(self.terms.beat);
            match tokio::time::timeout(patience, self.store.beat(&[self.lease], &self.terms)).await {
                Ok(Ok(beats)) => match beats.iter().find(|beat| beat.lease == self.lease) {
                    None => return self.signal.stop(Stop::Lost),
                    Some(beat) => {
                        acknowledged = sent;
                        beat.requested.into_iter().for_each(|request| self.signal.stop(request.into()));
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
