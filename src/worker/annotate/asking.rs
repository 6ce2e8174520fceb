//! What all questions of one attempt share: whom they ask, where they write it down, and why no more are asked.

use std::{
    future,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    ledger::{Closed, Ledger},
    patience::Patience,
};
use crate::{
    domain::{AnnotationSpec, Hand},
    store::{EventLevel, NewEvent},
    task::rationale_quality::RationaleChecks,
    teacher::{TeacherClient, TeacherError},
    telemetry::chain,
    worker::{Attempt, AttemptError, Stop},
};

/// No more questions: [`Asking::finish`] says why.
#[derive(Debug)]
pub(super) struct Ended;

/// What comes of asking.
pub(super) type Asked<T> = Result<T, Ended>;

/// Whose part the asking is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    /// The leader's: when the lease on the job is lost or to be let go, its hand stops as well.
    Leads(&'a Attempt),
    /// A helper's, who has nothing to say about the job itself.
    Helps,
}

/// Asks on behalf of one hand.
pub(super) struct Asking<'a> {
    pub(super) attempt: &'a Attempt,
    pub(super) hand: Hand,
    part: Part<'a>,
    pub(super) spec: &'a AnnotationSpec,
    pub(super) teacher: &'a TeacherClient,
    pub(super) ledger: Ledger,
    /// What rationales are examined by.
    pub(super) checks: RationaleChecks<'a>,
    /// Who is to blame for a question without an answer.
    pub(super) patience: Patience,
    /// Calls that were refused since the last one that was answered.
    pub(super) refused: AtomicU64,
    ended: CancellationToken,
    why: Mutex<Option<AttemptError>>,
    /// Whether the job has been told that a call failed.
    complained: AtomicBool,
}

impl<'a> Asking<'a> {
    pub(super) fn new(
        attempt: &'a Attempt,
        (hand, part): (Hand, Part<'a>),
        spec: &'a AnnotationSpec,
        teacher: &'a TeacherClient,
        ledger: Ledger,
        patience: Patience,
    ) -> Self {
        Self {
            attempt,
            hand,
            part,
            spec,
            teacher,
            ledger,
            checks: RationaleChecks::of(&spec.task),
            patience,
            refused: AtomicU64::new(0),
            ended: CancellationToken::new(),
            why: Mutex::new(None),
            complained: AtomicBool::new(false),
        }
    }

    /// Lets no further call begin. Those under way are waited for: each is paid for. Of several reasons the first counts.
    pub(super) fn end(&self, why: AttemptError) -> Ended {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.ended.cancel();
        Ended
    }

    /// The same, because the ledger is closed: its writer says why.
    pub(super) fn end_closed(&self, _: Closed) -> Ended {
        self.end(AttemptError::Stopped(Stop::Lost))
    }

    /// Waits until no further call may begin.
    pub(super) async fn until_ended(&self) -> Ended {
        tokio::select! {
            stop = self.attempt.until_stopped() => self.end(AttemptError::Stopped(stop)),
            stop = self.until_leader_stops() => self.end(AttemptError::Stopped(stop)),
            () = self.ended.cancelled() => Ended,
        }
    }

    async fn until_leader_stops(&self) -> Stop {
        match self.part {
            Part::Leads(attempt) => attempt.until_stopped().await,
            Part::Helps => future::pending().await,
        }
    }

    fn stopped(&self) -> Option<Stop> {
        let leader = match self.part {
            Part::Leads(attempt) => attempt.stopped(),
            Part::Helps => None,
        };
        self.attempt.stopped().max(leader)
    }

    /// Does something that may be given up as soon as no further call may begin.
    pub(super) async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Asked<T> {
        tokio::select! {
            biased;
            ended = self.until_ended() => Err(ended),
            done = work => Ok(done),
        }
    }

    /// What is worth its time until there is no more: see [`Attempt::in_time`].
    pub(super) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, AttemptError>>,
    ) -> Result<T, AttemptError> {
        match self.part {
            Part::Leads(leader) => leader.in_time(self.attempt.in_time(work)).await,
            Part::Helps => self.attempt.in_time(work).await,
        }
    }

    /// Whether further calls may begin.
    pub(super) fn check(&self) -> Asked<()> {
        match self.stopped() {
            Some(stop) => Err(self.end(AttemptError::Stopped(stop))),
            None if self.ended.is_cancelled() => Err(Ended),
            None => Ok(()),
        }
    }

    /// Is cancelled when no further call may begin.
    pub(super) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Closes this side of the ledger. An error where not everything was asked.
    pub(super) fn finish(self) -> Result<(), AttemptError> {
        self.why.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// Tells the job of the first call that failed; whether the teacher answers others is not known yet.
    pub(super) async fn complain(&self, error: &TeacherError) -> Asked<()> {
        if self.complained.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let message = format!("a call to the teacher {:?} failed; trying on: {}", self.teacher.name(), chain(error));
        let Part::Leads(leader) = self.part else {
            tracing::warn!(job = %self.hand.job_id, message);
            return Ok(());
        };
        let event = NewEvent { level: EventLevel::Warn, code: error.code().to_owned(), message, data: json!({}) };
        leader.tell(event).await.map_err(|error| self.end(error))
    }
}
