//! One attempt at one job: its lease, the beats that keep it, and why it may have to stop.

use std::{
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, task::JoinHandle};

use super::{AttemptError, Worker};
use crate::{
    domain::{Job, Lease, LeaseTerms},
    shutdown::Shutdown,
    store::{NewEvent, Request, Store, StoreError},
};

/// Why an attempt stops before its work is done, the more urgent reason later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Somebody paused the job: what was done is to be kept.
    Paused = 1,
    /// This process is asked to end: what was done is to be kept, as far as there is time.
    Draining = 2,
    /// Somebody cancelled the job.
    Cancelled = 3,
    /// The lease is somebody else's, or may be: nothing more may be written.
    Lost = 4,
}

impl Stop {
    /// Whether there is time to keep what was done.
    pub fn is_gentle(self) -> bool {
        matches!(self, Self::Paused | Self::Draining)
    }

    fn of_number(number: u8) -> Option<Self> {
        [Self::Paused, Self::Draining, Self::Cancelled, Self::Lost].into_iter().find(|stop| *stop as u8 == number)
    }
}

/// A claimed job while it is worked on. Its lease is renewed as long as this value lives, and not a moment longer: work that
/// panics or is dropped must not hold its job for ever.
#[derive(Debug)]
pub struct Attempt {
    /// The job as it was claimed.
    pub job: Job,
    /// The hold on it.
    pub lease: Lease,
    store: Store,
    signal: Arc<Signal>,
    drain_for: Duration,
    beats: JoinHandle<()>,
}

/// Why to stop; of several reasons the most urgent one.
#[derive(Debug, Default)]
struct Signal {
    stop: AtomicU8,
    /// When the process was asked to end.
    draining_since: OnceLock<Instant>,
    changed: Notify,
}

impl Signal {
    fn stop(&self, why: Stop) {
        if why == Stop::Draining {
            self.draining_since.get_or_init(Instant::now);
        }
        self.stop.fetch_max(why as u8, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    fn stopped(&self) -> Option<Stop> {
        Stop::of_number(self.stop.load(Ordering::Relaxed))
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
        let (store, drain_for) = (worker.store.clone(), worker.drain_for);
        Self { job, lease, store, signal, drain_for, beats: tokio::spawn(beats.keep()) }
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
        self.until_stopped_beyond(None).await
    }

    /// Waits until there is a more urgent reason to stop than this one.
    pub async fn until_stopped_beyond(&self, known: Option<Stop>) -> Stop {
        loop {
            let changed = self.signal.changed.notified();
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
        let spent = self.signal.draining_since.get().map(Instant::elapsed).unwrap_or_default();
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

    /// Writes an event of the job.
    pub async fn tell(&self, event: NewEvent) -> Result<(), AttemptError> {
        self.persist(|| self.store.append_event(self.lease, &event)).await
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
                        match beat.requested {
                            Some(Request::Cancel) => self.signal.stop(Stop::Cancelled),
                            Some(Request::Pause) => self.signal.stop(Stop::Paused),
                            None => {}
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
