//! How fast a teacher is asked. Every call waits for a turn, whose holder may have one call under way.
//!
//! ```text
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
    /// In the order of their coming; those that gave up are closed.
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
        let gate = Gate { local, waiting: VecDeque::new(), keeper: None, is_urgent: false };
        Arc::new(Self { teacher, limits, book, gate: Mutex::new(gate), look: Notify::new() })
    }

    /// A pace that this process keeps for itself.
    pub(super) fn alone(teacher: String, limits: Limits) -> Arc<Self> {
        Self::new(teacher, limits, Arc::new(book::OwnBook::new()))
    }

    /// Waits until a call may begin. Nothing is under way meanwhile: the wait may be given up.
    pub(super) async fn turn(self: &Arc<Self>) -> Turn {
        let turn = match self.begin_or_wait() {
            Ok(turn) => return turn,
            Err(turn) => turn,
        };
        turn.await.expect("the pace, which holds the other end until it sends a turn, is borrowed here")
    }

    fn begin_or_wait(self: &Arc<Self>) -> Result<Turn, oneshot::Receiver<Turn>> {
        let mut gate = self.gate();
        if gate.keeper.as_ref().is_none_or(JoinHandle::is_finished) {
            gate.keeper = Some(tokio::spawn(keeper::keep(Arc::clone(self))));
        }
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
    fn waiting(&self) -> u32 {
        let waiting = self.waiting.iter().filter(|sender| !sender.is_closed()).count();
        u32::try_from(waiting).unwrap_or(u32::MAX)
    }
}

impl Turn {
    /// This turn, or a later one where its call was held up for so long that it would come in a burst with others.
    pub async fn in_time(self) -> Self {
        if !self.ticket.is_lost(Instant::now()) {
            return self;
        }
        let pace = Arc::clone(&self.pace);
        drop(self);
        pace.turn().await
    }

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
