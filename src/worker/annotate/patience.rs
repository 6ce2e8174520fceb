//! Who is to blame when a question is not answered however often it is asked: the question, or a teacher that answers nobody.
//!
//! ```text
//!  tries run out ──▶ others were answered meanwhile? ──▶ yes: the question
//!                    else wait: for the next answer to anybody ──▶ the question
//!                               until all that are out wait so ──▶ few: these questions; many: the teacher
//! ```
//! So one question that a teacher cannot bear costs itself, wherever it is in the file, and a teacher that is away costs no
//! question anything: the attempt ends, and the job comes back later.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// It gets no answer, and the others go on.
    Question,
    /// Nobody gets one.
    Teacher,
}

/// What the questions of one hand have come to.
#[derive(Debug)]
pub(super) struct Patience {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Answers, those of earlier attempts as well.
    answered: u64,
    /// Questions that are out.
    open: u32,
    /// Of these, those whose tries have run out in this round.
    stuck: u32,
    /// Questions that were blamed since the last answer.
    blamed: u32,
    /// How often all that were stuck were blamed.
    round: u64,
    /// Whether the teacher was blamed.
    is_over: bool,
}

/// A question that is out, until this is dropped.
#[derive(Debug)]
pub(super) struct Open<'a>(&'a Patience);

/// A question whose tries have run out, until this is dropped.
struct Stuck<'a> {
    patience: &'a Patience,
    round: u64,
}

impl Patience {
    /// Of a teacher that has answered so many calls about this job before.
    pub(super) fn new(answered: u64) -> Self {
        Self { state: Mutex::new(State { answered, ..State::default() }), changed: Notify::new() }
    }

    /// How many calls were answered.
    pub(super) fn answered(&self) -> u64 {
        self.state().answered
    }

    /// A call was answered.
    pub(super) fn note_answer(&self) {
        let mut state = self.state();
        (state.answered, state.blamed) = (state.answered + 1, 0);
        drop(state);
        self.changed.notify_waiters();
    }

    /// A question is out.
    pub(super) fn enter(&self) -> Open<'_> {
        self.state().open += 1;
        Open(self)
    }

    /// Waits until it is known who is to blame that a question got no answer since there were `since` of them. So many in a
    /// row are thought to be to blame themselves.
    pub(super) async fn blame(&self, since: u64, tolerated: u32) -> Blame {
        let stuck = self.get_stuck();
        loop {
            let changed = self.changed.notified();
            let judged = self.state().judge(since, stuck.round, tolerated);
            if let Some(blame) = judged {
                self.changed.notify_waiters();
                return blame;
            }
            changed.await;
        }
    }

    fn get_stuck(&self) -> Stuck<'_> {
        let mut state = self.state();
        state.stuck += 1;
        let stuck = Stuck { patience: self, round: state.round };
        drop(state);
        self.changed.notify_waiters();
        stuck
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn judge(&mut self, since: u64, round: u64, tolerated: u32) -> Option<Blame> {
        if self.answered > since || self.round > round {
            return Some(Blame::Question);
        }
        if self.stuck < self.open && !self.is_over {
            return None;
        }
        if self.blamed + self.stuck > tolerated || self.is_over {
            self.is_over = true;
            return Some(Blame::Teacher);
        }
        self.blamed += self.stuck;
        (self.stuck, self.round) = (0, self.round + 1);
        Some(Blame::Question)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.state().open -= 1;
        self.0.changed.notify_waiters();
    }
}

impl Drop for Stuck<'_> {
    fn drop(&mut self) {
        let mut state = self.patience.state();
        if state.round == self.round {
            state.stuck -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::join_all};

    use super::*;

    #[test]
    fn a_question_beside_others_that_are_answered_is_to_blame_itself() {
        let patience = Patience::new(0);
        let _open = [patience.enter(), patience.enter()];
        let mut waiting = Box::pin(patience.blame(0, 0));
        assert_eq!(waiting.as_mut().now_or_never(), None, "the other one is still out");
        patience.note_answer();
        assert_eq!(waiting.as_mut().now_or_never(), Some(Blame::Question));
    }

    #[test]
    fn a_question_that_is_out_alone_waits_for_nobody() {
        let patience = Patience::new(7);
        let _open = patience.enter();
        assert_eq!(patience.blame(7, 1).now_or_never(), Some(Blame::Question));
        patience.note_answer();
        assert_eq!(patience.blame(8, 1).now_or_never(), Some(Blame::Question));
        assert_eq!(patience.blame(8, 1).now_or_never(), Some(Blame::Teacher), "the second in a row");
    }

    #[tokio::test]
    async fn few_that_are_stuck_together_are_to_blame_and_many_are_not() {
        let blame = async |count: usize, tolerated: u32| {
            let patience = Patience::new(1);
            let _open: Vec<Open<'_>> = (0..count).map(|_| patience.enter()).collect();
            join_all((0..count).map(|_| patience.blame(1, tolerated))).await
        };
        assert_eq!(blame(3, 3).await, [Blame::Question; 3]);
        assert_eq!(blame(4, 3).await, [Blame::Teacher; 4]);
    }

    #[test]
    fn whoever_is_waited_for_may_go_away() {
        let patience = Patience::new(1);
        let (_open, other) = (patience.enter(), patience.enter());
        let mut waiting = Box::pin(patience.blame(1, 1));
        assert_eq!(waiting.as_mut().now_or_never(), None);
        drop(Box::pin(patience.blame(1, 1)));
        drop(other);
        assert_eq!(waiting.as_mut().now_or_never(), Some(Blame::Question));
    }
}
