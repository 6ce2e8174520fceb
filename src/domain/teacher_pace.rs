//! How fast all workers together may ask a teacher, as it is written down between them.

use chrono::{DateTime, Utc};

use super::WorkerId;

/// What is known of a teacher's patience: one row a teacher. A teacher that was never asked has the default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TeacherPace {
    /// Calls that may be under way at once, as push-backs have narrowed it; none: the configured concurrency.
    pub window: Option<f64>,
    /// Below it the window doubles with each round trip, above it grows by one.
    pub threshold: f64,
    /// When it was last narrowed: push-backs of calls that were sent before belong to the same jam.
    pub narrowed_at: Option<DateTime<Utc>>,
    /// Calls pushed back since the last one that was answered.
    pub pushed_back: i64,
    /// Waits in a row for a teacher that pushes everything back.
    pub outages: i32,
    /// Nobody begins a call before.
    pub blocked_until: Option<DateTime<Utc>>,
    /// When the limit on requests allows the next one.
    pub next_request_at: Option<DateTime<Utc>>,
    /// When the limit on tokens allows the next request.
    pub next_token_at: Option<DateTime<Utc>>,
    /// Tokens, in and out, of a call on average; none while no call has been answered.
    pub tokens_a_call: Option<f64>,
}

/// The calls that one worker may have under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaceShare {
    /// The worker.
    pub worker: WorkerId,
    /// Calls that it may have under way, or has.
    pub permits: u32,
    /// Calls that it would have under way if it could.
    pub wanted: u32,
}
