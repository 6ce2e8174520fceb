//! How fast a teacher is asked. Every call waits for a turn, whose holder may have one call under way. Before that it comes
//! near: it is one of those whose turn is next, and has the time to be written down.
//!
//! ```text
//!  near()     at most a quarter of the calls that may be under way
//!    │
//!  turn() ──▶ Local: permits, turns, until when the teacher wants to be left alone      (one a process and teacher)
//!               │ ▲
//!        report │ │ grant                      a few times a second while the teacher is in use, at once after a push-back
//!               ▼ │
//!            PaceBook: settles one exchange at a time, with the shares of all workers                (PostgreSQL)
//! ```
//! - A process begins with nothing and gets what others have given up; what it holds it holds until the next exchange, so
//!   that no call waits for the database unless the limits on requests and tokens give out turns, or the teacher pushed
//!   back.
//! - A process that cannot reach the database goes on with what it holds, narrows at push-backs, and begins no call any
//!   more once its share may be another's, or once all that it may have under way was pushed back. One that died leaves a
//!   share that expires.
//! - A push-back is a 429, 503 or 529. `window` has what it does; a wish to be left alone holds for everybody.

mod book;
mod division;
mod exchange;
mod keeper;
mod local;
mod near;
#[cfg(test)]
mod simulation;
mod turns;
mod window;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::Instant,
};

pub use book::{BookError, PaceBook};
pub use exchange::{Exchange, Grant, Limits, Report, SHARE_KEEPS};
use local::{Local, May, Ticket};
pub use near::Near;
pub use turns::Spent;
pub use window::PushBacks;

/// The pace at which this process may ask one teacher.
#[derive(Debug)]
pub(super) struct Pace {
    teacher: String,
    limits: Limits,
    book: Arc<dyn PaceBook>,
    gate: Mutex<Gate>,
    /// Rung for the keeper when it has to look again.
    look: Notify,
}

#[derive(Debug)]
struct Gate {
    local: Local,
    /// Calls that are near.
    near: u32,
    /// Calls that wait to come near, in the order of their coming; those that gave up are closed.
    far: VecDeque<oneshot::Sender<Near>>,
    /// Calls that are near and wait for their turn, likewise.
    waiting: VecDeque<oneshot::Sender<Turn>>,
    /// Runs while the teacher is in use.
    keeper: Option<JoinHandle<()>>,
    /// Whether something happened that the other workers should know at once.
    is_urgent: bool,
}

/// The right to have one call under way; it ends when this value is dropped.
#[derive(Debug)]
pub struct Turn {
    pace: Arc<Pace>,
    ticket: Ticket,
}

impl Pace {
    /// A pace that is kept in this book.
    pub(super) fn new(teacher: String, limits: Limits, book: Arc<dyn PaceBook>) -> Arc<Self> {
        let local = Local::new(limits.has_rates());
        let (far, waiting) = (VecDeque::new(), VecDeque::new());
        let gate = Gate { local, near: 0, far, waiting, keeper: None, is_urgent: false };
        Arc::new(Self { teacher, limits, book, gate: Mutex::new(gate), look: Notify::new() })
    }

    /// A pace that this process keeps for itself.
    pub(super) fn alone(teacher: String, limits: Limits) -> Arc<Self> {
        Self::new(teacher, limits, Arc::new(book::OwnBook::new()))
    }

    /// Gives everything back, where the teacher was in use.
    pub(super) async fn leave(&self) {
        let Some(keeper) = self.gate().keeper.take() else { return };
        // Its last exchange may still be on its way: what it is given, it would hold.
        keeper.abort();
        drop(keeper.await);
        keeper::leave(self).await;
    }

    fn begin_or_wait(self: &Arc<Self>) -> Result<Turn, oneshot::Receiver<Turn>> {
        let mut gate = self.gate();
        if gate.waiting.is_empty() {
            match gate.local.begin(Instant::now()) {
                May::Begin(ticket) => return Ok(Turn { pace: Arc::clone(self), ticket }),
                May::At(_) => self.look.notify_one(),
                May::Later => {}
            }
        }
        let (sender, turn) = oneshot::channel();
        gate.waiting.push_back(sender);
        Err(turn)
    }

    /// Lets those begin that may; says when the next one may, where that is only a matter of time.
    fn let_begin(self: &Arc<Self>) -> Option<Instant> {
        loop {
            let (sender, ticket) = {
                let mut gate = self.gate();
                while gate.waiting.front().is_some_and(oneshot::Sender::is_closed) {
                    gate.waiting.pop_front();
                }
                let sender = gate.waiting.pop_front()?;
                match gate.local.begin(Instant::now()) {
                    May::Begin(ticket) => (sender, ticket),
                    not_yet => {
                        gate.waiting.push_front(sender);
                        return match not_yet {
                            May::At(instant) => Some(instant),
                            _ => None,
                        };
                    }
                }
            };
            // Outside of the lock, which the turn takes when nobody receives it.
            drop(sender.send(Turn { pace: Arc::clone(self), ticket }));
        }
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// Calls that are to begin.
    fn waiting(&self) -> u32 {
        let far = self.far.iter().filter(|sender| !sender.is_closed()).count();
        self.near.saturating_add(u32::try_from(far).unwrap_or(u32::MAX))
    }
}

impl Turn {
    /// The call was answered, and so many tokens were counted, if they were.
    pub(super) fn answered(self, tokens: Option<i64>) {
        self.pace.gate().local.answered(self.ticket, tokens);
    }

    /// The call, sent then, was pushed back, with the wish to be left alone for so long.
    pub(super) fn pushed_back(self, sent: Instant, wish: Duration) {
        let mut gate = self.pace.gate();
        gate.local.pushed_back(sent, wish, Instant::now());
        gate.is_urgent = true;
        drop(gate);
        self.pace.look.notify_one();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.pace.gate().local.end();
        if self.pace.let_begin().is_some() {
            self.pace.look.notify_one();
        }
    }
}
