//! What one process holds of a teacher's pace, and what its calls came to since it last told. Pure: time is an argument.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{
    exchange::{Grant, Report, SHARE_SERVES},
    turns::Spent,
    window::PushBacks,
};

/// A turn is lost when it was not used for so long. Of any ten seconds that is less than a twentieth, and so is what
/// calls that were held up can add to what the limits allow in them.
const TURN_KEEPS: Duration = Duration::from_millis(400);

/// The share of one process. It begins with nothing.
#[derive(Debug, Default)]
pub(super) struct Local {
    /// Whether calls must wait for turns.
    rated: bool,
    permits: u32,
    under_way: u32,
    /// From then on no call begins: the permits may soon be another's.
    held_until: Option<Instant>,
    blocked_until: Option<Instant>,
    turns: VecDeque<Instant>,
    charge: i64,
    narrowed_at: Option<Instant>,
    /// Calls that were pushed back since the last answer, and since the last exchange.
    in_a_row: u32,
    untold: Untold,
}

/// What the next report says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Untold {
    /// Calls begun.
    begun: u32,
    answered: u32,
    spent: Spent,
    pushed_back: u32,
    /// When the youngest call that was pushed back was sent.
    youngest: Option<Instant>,
    /// Until when the teacher wants to be left alone.
    wish: Option<Instant>,
}

/// Whether a call may begin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum May {
    /// It has begun, and was charged so many tokens.
    Begin(Ticket),
    /// Not before.
    At(Instant),
    /// Not before a call has ended or an exchange has brought more.
    Later,
}

/// What a call that began must know at its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ticket {
    charge: i64,
    lost_at: Option<Instant>,
}

impl Ticket {
    /// Whether the call came too late for its turn.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        self.lost_at.is_some_and(|at| at < now)
    }
}

impl Local {
    pub(super) fn new(rated: bool) -> Self {
        Self { rated, ..Self::default() }
    }

    /// Begins a call, if one may begin now.
    pub(super) fn begin(&mut self, now: Instant) -> May {
        if self.under_way >= self.permits || self.is_jammed() || self.held_until.is_none_or(|until| until <= now) {
            return May::Later;
        }
        if let Some(until) = self.blocked_until.filter(|until| *until > now) {
            return May::At(until);
        }
        let lost_at = if self.rated {
            match self.next_turn(now) {
                Some(turn) if turn > now => return May::At(turn),
                Some(turn) => self.turns.pop_front().map(|_| turn + TURN_KEEPS),
                None => return May::Later,
            }
        } else {
            None
        };
        self.under_way += 1;
        self.untold.begun += 1;
        May::Begin(Ticket { charge: self.charge, lost_at })
    }

    /// Whether a windowful was pushed back and nothing answered: what all workers make of it comes before the next call.
    fn is_jammed(&self) -> bool {
        self.in_a_row > 0 && self.in_a_row >= self.permits
    }

    fn next_turn(&mut self, now: Instant) -> Option<Instant> {
        while self.turns.front().is_some_and(|turn| *turn + TURN_KEEPS < now) {
            self.turns.pop_front();
        }
        self.turns.front().copied()
    }

    /// Calls that may be under way.
    pub(super) fn permits(&self) -> u32 {
        self.permits
    }

    /// A call has ended, however.
    pub(super) fn end(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// The teacher answered, and counted so many tokens, if it did.
    pub(super) fn answered(&mut self, ticket: Ticket, tokens: Option<i64>) {
        self.untold.answered += 1;
        self.in_a_row = 0;
        if let Some(tokens) = tokens {
            self.untold.spent.calls += 1;
            self.untold.spent.tokens = self.untold.spent.tokens.saturating_add(tokens);
            self.untold.spent.charged = self.untold.spent.charged.saturating_add(ticket.charge);
        }
    }

    /// The teacher pushed a call back that was sent then. What all workers make of it comes with the next exchange; this
    /// one narrows at once, and keeps to that for as long as no exchange succeeds. A windowful without an answer is no
    /// matter of width: push-backs come back at once, and the next call would be the next of them.
    pub(super) fn pushed_back(&mut self, sent: Instant, wish: Duration, now: Instant) {
        let untold = &mut self.untold;
        untold.pushed_back += 1;
        self.in_a_row += 1;
        untold.youngest = untold.youngest.max(Some(sent));
        untold.wish = untold.wish.max((!wish.is_zero()).then(|| now + wish));
        self.blocked_until = self.blocked_until.max(untold.wish);
        if self.narrowed_at.is_none_or(|at| sent > at) {
            self.narrowed_at = Some(now);
            self.permits = self.permits.min((self.permits * 7 / 10).max(1));
        }
    }

    /// What there is to tell, and the same to be given back should nobody hear it. `waiting` calls wait.
    pub(super) fn report(&mut self, waiting: u32, now: Instant) -> (Report, Untold) {
        let untold = std::mem::take(&mut self.untold);
        let wanted = self.under_way.saturating_add(waiting);
        let ago = |instant: Instant| now.saturating_duration_since(instant);
        let pushed_back = untold.youngest.map(|youngest| PushBacks {
            calls: untold.pushed_back,
            sent_ago: ago(youngest),
            retry_after: untold.wish.map(|wish| wish.saturating_duration_since(now)).unwrap_or_default(),
        });
        let report = Report {
            under_way: self.under_way,
            wanted,
            // Twice what was used: a worker that becomes faster finds its turns within a few exchanges.
            turns: wanted.saturating_add(untold.begun.saturating_mul(2)),
            answered: untold.answered,
            pushed_back,
            spent: untold.spent,
        };
        (report, untold)
    }

    /// Nobody heard the report.
    pub(super) fn unheard(&mut self, untold: Untold) {
        let now = &mut self.untold;
        now.begun += untold.begun;
        now.answered += untold.answered;
        now.pushed_back += untold.pushed_back;
        now.youngest = now.youngest.max(untold.youngest);
        now.wish = now.wish.max(untold.wish);
        now.spent.calls += untold.spent.calls;
        now.spent.tokens = now.spent.tokens.saturating_add(untold.spent.tokens);
        now.spent.charged = now.spent.charged.saturating_add(untold.spent.charged);
    }

    /// An exchange that was begun at `asked` has brought this.
    pub(super) fn take(&mut self, grant: &Grant, asked: Instant, now: Instant) {
        (self.permits, self.in_a_row) = (grant.permits, 0);
        // By the time before asking: where the share is written down it expires no earlier.
        self.held_until = Some(asked + SHARE_SERVES);
        // A wish that was heard after asking still counts.
        let blocked = (!grant.blocked_for.is_zero()).then(|| now + grant.blocked_for);
        self.blocked_until = blocked.max(self.untold.wish);
        self.turns.extend(grant.turns.iter().map(|turn| now + *turn));
        self.charge = grant.charge;
    }

    /// Gives everything back.
    pub(super) fn leave(&mut self) {
        (self.permits, self.held_until) = (0, None);
        self.turns.clear();
    }

    /// Whether no call is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way == 0
    }
}
