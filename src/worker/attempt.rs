//! One attempt at one job, or a hand in one that another worker leads: what holds it, the beats that keep it, and why it may
//! have to stop.

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
    domain::{Hand, Job, JobId, Lease, LeaseTerms},
    shutdown::Shutdown,
    store::{NewEvent, Request, Store, StoreError},
};

/// A claimed job while it is worked on. Its lease is renewed as long as this value lives, and not a moment longer: work that
/// panics or is dropped must not hold its job for ever.
#[derive(Debug)]
pub struct Attempt {
    /// The job as it was claimed.
    pub job: Job,
    /// The hold on it; a hand's is that of the worker that leads the job.
    pub lease: Lease,
    hold: Hold,
    drain_for: Duration,
    shutdown: Shutdown,
    beats: JoinHandle<()>,
}

impl Attempt {
    pub(super) fn begin(worker: &Worker, job: Job, lease: Lease, shutdown: &Shutdown) -> Self {
        Self::hold(worker, job, lease, Held::Job(lease), shutdown)
    }

    /// A hand in the job, beside the one who leads it. Its job must not be written to under the lease: it has the hand.
    pub(super) fn begin_hand(worker: &Worker, job: Job, hand: Hand, shutdown: &Shutdown) -> Self {
        let lease = Lease { job_id: job.id, epoch: job.lease_epoch };
        Self::hold(worker, job, lease, Held::Hand(hand), shutdown)
    }

    /// A hand of the worker that leads this attempt.
    pub(super) fn with_hand(&self, worker: &Worker, hand: Hand) -> Self {
        Self::begin_hand(worker, self.job.clone(), hand, &self.shutdown)
    }

    fn hold(worker: &Worker, job: Job, lease: Lease, held: Held, shutdown: &Shutdown) -> Self {
        let signal = Arc::new(Signal::default());
        let beats = Beats {
            store: worker.beat_store.clone(),
            job: job.id,
            held,
            terms: worker.terms,
            wake: Arc::clone(&worker.wake),
            signal: Arc::clone(&signal),
            shutdown: shutdown.clone(),
        };
        let hold = Hold { lease, store: worker.store.clone(), signal };
        let (drain_for, shutdown) = (worker.drain_for, shutdown.clone());
        Self { job, lease, hold, drain_for, shutdown, beats: tokio::spawn(beats.keep()) }
    }

    /// The job's store.
    pub fn store(&self) -> &Store {
        &self.hold.store
    }

    /// The hold on it, for tasks beside the attempt's own.
    pub fn held(&self) -> &Hold {
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

/// What is renewed.
#[derive(Debug, Clone, Copy)]
enum Held {
    Job(Lease),
    Hand(Hand),
}

/// A renewed hold, and what was asked of the job.
type Renewed = Option<Option<Request>>;

/// The loop that renews a lease or a hand.
struct Beats {
    store: Store,
    job: JobId,
    held: Held,
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
            match tokio::time::timeout(patience, self.renew()).await {
                Ok(Ok(None)) => return self.signal.stop(Stop::Lost),
                Ok(Ok(Some(requested))) => {
                    acknowledged = sent;
                    requested.into_iter().for_each(|request| self.signal.stop(request.into()));
                }
                Ok(Err(error)) => tracing::warn!(job = %self.job, %error, "a beat failed"),
                Err(_) => tracing::warn!(job = %self.job, "a beat was not answered in time"),
            }
            if acknowledged.elapsed() >= self.terms.self_fence() {
                return self.signal.stop(Stop::Lost);
            }
        }
    }
    /// None where the hold is lost.
    async fn renew(&self) -> Result<Renewed, StoreError> {
        match self.held {
            Held::Job(lease) => {
                let beats = self.store.beat(&[lease], &self.terms).await?;
                Ok(beats.into_iter().find(|beat| beat.lease == lease).map(|beat| beat.requested))
            }
            Held::Hand(hand) => self.store.beat_hand(hand, self.terms.duration).await,
        }
    }
}
