//! A worker's hold on a job: the lease with what it takes to write under it, and why the work may have to stop. Cheap to
//! clone, for tasks beside the attempt's own.

use std::{
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::AttemptError;
use crate::{
    domain::Lease,
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

impl From<Request> for Stop {
    fn from(request: Request) -> Self {
        match request {
            Request::Cancel => Self::Cancelled,
            Request::Pause => Self::Paused,
        }
    }
}

/// Why to stop; of several reasons the most urgent one.
#[derive(Debug, Default)]
pub(super) struct Signal {
    stop: AtomicU8,
    /// When the process was asked to end.
    pub(super) draining_since: OnceLock<Instant>,
    pub(super) changed: Notify,
}

impl Signal {
    pub(super) fn stop(&self, why: Stop) {
        if why == Stop::Draining {
            self.draining_since.get_or_init(Instant::now);
        }
        self.stop.fetch_max(why as u8, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    pub(super) fn stopped(&self) -> Option<Stop> {
        Stop::of_number(self.stop.load(Ordering::Relaxed))
    }
}

/// A hold on a job.
#[derive(Debug, Clone)]
pub struct Hold {
    /// Which one.
    pub lease: Lease,
    /// Where the job is.
    pub store: Store,
    pub(super) signal: Arc<Signal>,
}

impl Hold {
    /// A write that outlasts an outage of the database: tried again until it is through or the lease is lost.
    pub async fn persist<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        write: impl Fn() -> F,
    ) -> Result<T, AttemptError> {
        let mut pause = Duration::from_millis(100);
        loop {
            match write().await {
                Err(error) if error.is_unavailable() && self.signal.stopped() != Some(Stop::Lost) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                Err(error) if error.is_unavailable() => return Err(AttemptError::Stopped(Stop::Lost)),
                Err(lost @ (StoreError::LeaseLost(_) | StoreError::HandLost(_))) => {
                    self.signal.stop(Stop::Lost);
                    return Err(lost.into());
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
