//! Calls that are near: their turn is one of the next, and they have the time to be written down. So nobody's turn passes
//! while the ledger commits, and few calls are written down that wait.

use std::sync::Arc;

use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

use super::{Gate, Pace, Turn, keeper};

/// Of so many calls that may be under way one may be near.
const NEAR: u32 = 4;

/// A place among the calls whose turn comes next; it is given up when this value is dropped.
#[derive(Debug)]
pub struct Near {
    pace: Arc<Pace>,
}

impl Pace {
    /// Waits until a call is near its turn.
    pub(in crate::teacher) async fn near(self: &Arc<Self>) -> Near {
        let (sender, near) = oneshot::channel();
        {
            let mut gate = self.gate();
            if gate.keeper.as_ref().is_none_or(JoinHandle::is_finished) {
                gate.keeper = Some(tokio::spawn(keeper::keep(Arc::clone(self))));
            }
            gate.far.push_back(sender);
        }
        self.let_near();
        near.await.expect("the pace, which holds the other end until it lets a call come near, is borrowed here")
    }

    /// Lets calls come near as there is room.
    pub(super) fn let_near(self: &Arc<Self>) {
        loop {
            let sender = {
                let mut gate = self.gate();
                while gate.far.front().is_some_and(oneshot::Sender::is_closed) {
                    gate.far.pop_front();
                }
                if !gate.has_room() {
                    return;
                }
                let Some(sender) = gate.far.pop_front() else { return };
                gate.near += 1;
                sender
            };
            // Outside of the lock, which it takes when nobody receives it.
            drop(sender.send(Near { pace: Arc::clone(self) }));
        }
    }
}

impl Gate {
    /// Whether another call may come near: while one call takes its time, a few are written down, and no more than that.
    fn has_room(&self) -> bool {
        self.near < (self.local.permits() / NEAR).max(1)
    }
}

impl Near {
    /// Waits until the call may begin. Nothing is under way meanwhile: the wait may be given up.
    pub async fn turn(self) -> Turn {
        loop {
            let turn = match self.pace.begin_or_wait() {
                Ok(turn) => return turn,
                Err(turn) => turn,
            };
            let turn = turn.await.expect("the pace, which holds the other end until it sends a turn, is borrowed here");
            // Held up for so long that it would come in a burst with others, it waits for a later one.
            if !turn.ticket.is_lost(Instant::now()) {
                return turn;
            }
        }
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        self.pace.gate().near -= 1;
        self.pace.let_near();
    }
}
