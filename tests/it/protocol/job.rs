//! A job's row, and each statement of `stepwise::store` that moves it, as a function. `conformance` holds the two to each other.

/// Losses in a row that fail a job.
const LOSSES: u8 = 3;
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    Queued,
    Running,
    Paused,
    Succeeded,
    Failed,
    Cancelled,
}

impl State {
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    pub fn came_to_nothing(self) -> bool {
        matches!(self, Self::Failed | Self::Cancelled)
    }
}

/// Whether a cancel was asked for, and whether a minute has passed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cancel {
    No,
    Asked,
    Overdue,
}

/// What a worker knows of its hold on a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hold {
    pub job: usize,
    pub epoch: u8,
    pub attempt: u8,
    /// Which claim of the job gave it: what no store knows, to tell late writes from others.
    pub claim: u8,
}

/// By what a write is recognized as the holder's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    Epoch,
    /// Wrong: a worker that drains takes the attempt down again, and the next claim gives the same number.
    Attempt,
    /// Wrong: whoever once held it may write while it runs.
    Nothing,
    /// Wrong: who held it last may write when it runs no more, as one does whose answer was lost.
    EpochAlone,
}

/// What a worker writes about a job that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Write {
    Progress,
    Finish,
    /// An error that another attempt may not meet.
    Fail,
    /// An error that every attempt would meet.
    FailForGood,
    /// Hands the job back, as if the attempt had not begun.
    Release,
    /// Pauses the job because of what the work has found.
    Pause,
    /// The work has stopped, as somebody asked.
    AcknowledgeCancel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Job {
    pub state: State,
    pub epoch: u8,
    pub attempt: u8,
    pub max_attempts: u8,
    pub lost_count: u8,
    pub step: u8,
    pub step_at_loss: u8,
    pub cancel: Cancel,
    pub pause_is_asked: bool,
    /// Whether `run_at` has come.
    pub is_due: bool,
    pub lease_has_expired: bool,
}

impl Job {
    pub fn new(max_attempts: u8) -> Self {
        Self {
            state: State::Queued,
            epoch: 0,
            attempt: 0,
            max_attempts,
            lost_count: 0,
            step: 0,
            step_at_loss: 0,
            cancel: Cancel::No,
            pause_is_asked: false,
            is_due: true,
            lease_has_expired: false,
        }
    }

    pub fn may_be_claimed(&self, parent: Option<State>) -> bool {
        self.state == State::Queued && self.is_due && parent.is_none_or(|parent| parent == State::Succeeded)
    }

    pub fn claim(&mut self) {
        self.state = State::Running;
        self.attempt += 1;
        self.epoch += 1;
    }

    pub fn is_held(&self, hold: Hold, fence: Fence) -> bool {
        let runs = self.state == State::Running;
        match fence {
            Fence::Epoch => runs && self.epoch == hold.epoch,
            Fence::Attempt => runs && self.attempt == hold.attempt,
            Fence::Nothing => runs,
            Fence::EpochAlone => self.epoch == hold.epoch,
        }
    }

    pub fn beat(&mut self) {
        self.lease_has_expired = false;
    }

    /// A write of the holder; false where it does not fit the job as it stands.
    pub fn write(&mut self, write: Write) -> bool {
        match write {
            Write::Progress => self.progress(),
            Write::Finish => self.leave(State::Succeeded),
            Write::Fail => self.fail(),
            Write::FailForGood => self.leave(self.unless_cancelled(State::Failed)),
            Write::Release => {
                self.attempt -= 1;
                self.leave(self.unless_asked(State::Queued));
            }
            Write::Pause => {
                self.attempt -= 1;
                self.leave(self.unless_cancelled(State::Paused));
            }
            Write::AcknowledgeCancel if self.cancel == Cancel::No => return false,
            Write::AcknowledgeCancel => self.leave(State::Cancelled),
        }
        true
    }

    fn progress(&mut self) {
        self.step += 1;
        if self.step > self.step_at_loss {
            self.lost_count = 0;
        }
    }

    fn fail(&mut self) {
        let next = if self.attempt >= self.max_attempts {
            self.unless_cancelled(State::Failed)
        } else {
            self.unless_asked(State::Queued)
        };
        self.leave_until_later(next);
    }

    /// Whatever process looks at a job whose worker is silent, or has not answered a cancel in time. False where there is nothing
    /// to do.
    pub fn reap(&mut self, forces_cancels: bool) -> bool {
        let is_forced = !self.lease_has_expired && self.cancel == Cancel::Overdue && forces_cancels;
        if self.state != State::Running || !self.lease_has_expired && !is_forced {
            return false;
        }
        self.lost_count += 1;
        self.step_at_loss = self.step_at_loss.max(self.step);
        self.epoch += u8::from(is_forced);
        let is_lost = self.lost_count >= LOSSES || self.attempt >= self.max_attempts;
        let next = if is_lost { self.unless_cancelled(State::Failed) } else { self.unless_asked(State::Queued) };
        self.leave_until_later(next);
        true
    }

    fn unless_cancelled(&self, next: State) -> State {
        if self.cancel == Cancel::No { next } else { State::Cancelled }
    }

    fn unless_asked(&self, next: State) -> State {
        self.unless_cancelled(if self.pause_is_asked { State::Paused } else { next })
    }

    fn leave_until_later(&mut self, next: State) {
        self.leave(next);
        self.is_due = next != State::Queued;
    }

    fn leave(&mut self, next: State) {
        self.state = next;
        self.pause_is_asked = false;
        self.lease_has_expired = false;
    }

    pub fn cancel(&mut self) {
        match self.state {
            State::Queued | State::Paused => (self.state, self.cancel) = (State::Cancelled, Cancel::Asked),
            State::Running if self.cancel == Cancel::No => (self.cancel, self.pause_is_asked) = (Cancel::Asked, false),
            _ => {}
        }
    }

    pub fn pause(&mut self) {
        match self.state {
            State::Queued => self.state = State::Paused,
            State::Running if self.cancel == Cancel::No => self.pause_is_asked = true,
            _ => {}
        }
    }

    pub fn resume(&mut self) {
        match self.state {
            State::Paused => (self.state, self.is_due) = (State::Queued, true),
            State::Running => self.pause_is_asked = false,
            _ => {}
        }
    }

    pub fn retry(&mut self, parent: Option<State>) {
        if self.state.came_to_nothing() && !parent.is_some_and(State::came_to_nothing) {
            *self = Self { epoch: self.epoch, step: self.step, ..Self::new(self.max_attempts) };
        }
    }

    /// A waiting job whose parent came to nothing fails; false where it is not one.
    pub fn fail_as_orphan(&mut self, parent: Option<State>) -> bool {
        let is_orphan =
            matches!(self.state, State::Queued | State::Paused) && parent.is_some_and(State::came_to_nothing);
        if is_orphan {
            self.state = State::Failed;
        }
        is_orphan
    }
}
