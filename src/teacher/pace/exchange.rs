//! What a worker tells about its calls, and what it may do next: one step of the pace that all workers share. Pure; who
//! keeps the pace between two steps, and lets nobody else change it meanwhile, is a [`PaceBook`](super::PaceBook).

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{
    division,
    turns::{self, Spent},
    window::{self, PushBacks},
};
use crate::domain::{PaceShare, TeacherPace, WorkerId};

/// A share that its worker does not renew for so long is another's to take.
pub const SHARE_KEEPS: Duration = Duration::from_secs(15);
/// A worker that cannot renew its share begins no call any more after so long: those that it has begun mostly end before
/// the share is another's.
pub(super) const SHARE_SERVES: Duration = Duration::from_secs(10);
/// What cannot be divided passes to the next worker after so many seconds.
const ROUND_SECONDS: i64 = 2;

/// What the configuration allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Calls under way at once, of all workers together.
    pub max_concurrency: u32,
    /// Requests a minute; none: no limit.
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute, in and out; none: no limit.
    pub tokens_per_minute: Option<u32>,
}

impl Limits {
    /// Whether calls must wait for turns.
    pub(super) fn has_rates(&self) -> bool {
        self.requests_per_minute.is_some() || self.tokens_per_minute.is_some()
    }
}

/// What a worker's calls came to since it last told.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Report {
    /// Calls under way.
    pub under_way: u32,
    /// Calls under way or waiting for a permit.
    pub wanted: u32,
    /// Turns that it could use before the next exchange.
    pub turns: u32,
    /// Calls that were answered, by whatever but a push-back.
    pub answered: u32,
    /// Calls that were pushed back.
    pub pushed_back: Option<PushBacks>,
    /// What answers cost.
    pub spent: Spent,
}

/// What a worker may do until the next exchange.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grant {
    /// Calls that it may have under way.
    pub permits: u32,
    /// No call begins for so long.
    pub blocked_for: Duration,
    /// When its next turns come, from now; empty where there are no limits on requests and tokens.
    pub turns: Vec<Duration>,
    /// Tokens that each of them was charged.
    pub charge: i64,
}

/// One worker's step.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// What the configuration allows.
    pub limits: Limits,
    /// What the worker tells; none: it asks nothing more and gives everything back.
    pub report: Option<Report>,
    /// In [0, 1): the part of the longest wait that is taken where chance decides.
    pub chance: f64,
}

impl Exchange {
    /// Changes the pace by what the worker tells; gives the share that is the worker's from now on, if any, and what it
    /// may do. `others` are the shares of all other workers that are alive.
    pub fn settle(
        &self,
        worker: WorkerId,
        pace: &mut TeacherPace,
        others: &[PaceShare],
        now: DateTime<Utc>,
    ) -> (Option<PaceShare>, Grant) {
        let Some(report) = self.report else { return (None, Grant::default()) };
        let limit = self.limits.max_concurrency.max(1);
        window::widen(pace, report.answered, limit);
        if let Some(back) = report.pushed_back {
            window::narrow(pace, back, limit, now, self.chance);
        }
        turns::count(pace, report.spent, &self.limits, now);
        let mine = PaceShare { worker, permits: report.under_way, wanted: report.wanted };
        // Until it is known what a call takes, one goes ahead and all others wait for its answer.
        let width = if turns::is_unknown(pace, &self.limits) { 1 } else { window::width(pace, limit) };
        let permits = permits(width, mine, others, now);
        let grant = Grant {
            permits,
            blocked_for: pace.blocked_until.and_then(|until| (until - now).to_std().ok()).unwrap_or_default(),
            charge: turns::charge(pace),
            turns: match self.limits.has_rates() && permits > 0 {
                true => turns::take(pace, &self.limits, report.turns, now),
                false => Vec::new(),
            },
        };
        // Calls under way are not taken back: what exceeds the share is given up as they end.
        (Some(PaceShare { permits: permits.max(report.under_way), ..mine }), grant)
    }
}

/// What the worker is entitled to, as far as others have given it up.
fn permits(width: u32, mine: PaceShare, others: &[PaceShare], now: DateTime<Utc>) -> u32 {
    let round = now.timestamp().div_euclid(ROUND_SECONDS).unsigned_abs();
    let entitled = division::entitled(width, mine, others, round);
    let taken = others.iter().fold(0_u32, |sum, other| sum.saturating_add(other.permits));
    entitled.min(width.saturating_sub(taken))
}
