//! The limits on requests and tokens a minute, as the times at which turns come: one after the other, a share of a
//! minute apart, so that there is never a burst. A worker takes the turns of the next moments at once, and a turn that
//! is not used in time is lost: saved ones would make a burst.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Limits, window::later};
use crate::domain::TeacherPace;

/// Turns further away than this are not given out yet: another worker may want them as well.
const HORIZON: Duration = Duration::from_millis(500);
/// How many calls the average of tokens reaches back.
const REMEMBERED: f64 = 20.0;

/// Answers since the last exchange.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spent {
    /// Answers whose tokens were counted.
    pub calls: u32,
    /// Their tokens, in and out.
    pub tokens: i64,
    /// Tokens that their turns were charged.
    pub charged: i64,
}

/// The next `wanted` turns at the most, as times from `now`.
pub(super) fn take(pace: &mut TeacherPace, limits: &Limits, wanted: u32, now: DateTime<Utc>) -> Vec<Duration> {
    let wanted = if is_unknown(pace, limits) { wanted.min(1) } else { wanted };
    let mut turns = Vec::new();
    while turns.len() < wanted as usize {
        let floors = [pace.blocked_until, pace.next_request_at, pace.next_token_at];
        let at = floors.into_iter().flatten().fold(now, DateTime::max);
        if at > later(now, HORIZON) {
            break;
        }
        pace.next_request_at = limits.requests_per_minute.map(|limit| at + minutes(1.0 / f64::from(limit.max(1))));
        pace.next_token_at =
            limits.tokens_per_minute.map(|limit| at + minutes(charge(pace) as f64 / f64::from(limit.max(1))));
        turns.push((at - now).to_std().unwrap_or_default());
    }
    turns
}

/// Whether a limit on tokens is to be held before any answer has told what a call takes.
pub(super) fn is_unknown(pace: &TeacherPace, limits: &Limits) -> bool {
    limits.tokens_per_minute.is_some() && pace.tokens_a_call.is_none()
}

/// Tokens that a turn is charged until its answer is counted.
pub(super) fn charge(pace: &TeacherPace) -> i64 {
    pace.tokens_a_call.unwrap_or_default().round() as i64
}

/// Counts answers: what they cost beyond what their turns were charged pushes later turns back.
pub(super) fn count(pace: &mut TeacherPace, spent: Spent, limits: &Limits, now: DateTime<Utc>) {
    if spent.calls == 0 {
        return;
    }
    let (calls, mean) = (f64::from(spent.calls), spent.tokens as f64 / f64::from(spent.calls));
    let known = pace.tokens_a_call.unwrap_or(mean);
    pace.tokens_a_call = Some(known + (mean - known) * calls / (calls + REMEMBERED));
    if let Some(limit) = limits.tokens_per_minute {
        let excess = (spent.tokens - spent.charged) as f64;
        let next = pace.next_token_at.unwrap_or(now).max(now);
        pace.next_token_at = Some(next + minutes(excess / f64::from(limit.max(1))));
    }
}

/// So many minutes; no limit makes anybody wait for more than a day.
fn minutes(minutes: f64) -> TimeDelta {
    TimeDelta::nanoseconds((minutes.clamp(-1440.0, 1440.0) * 60e9) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(requests_per_minute: Option<u32>, tokens_per_minute: Option<u32>) -> Limits {
        Limits { max_concurrency: 16, requests_per_minute, tokens_per_minute }
    }

    fn start() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
    }

    fn milliseconds(turns: &[Duration]) -> Vec<u128> {
        turns.iter().map(Duration::as_millis).collect()
    }

    #[test]
    fn requests_are_spread_over_the_minute_and_far_turns_are_left_for_others() {
        let (mut pace, limits) = (TeacherPace::default(), limits(Some(600), None));
        assert_eq!(milliseconds(&take(&mut pace, &limits, 3, start())), [0, 100, 200]);
        assert_eq!(milliseconds(&take(&mut pace, &limits, 99, start())), [300, 400, 500]);
        assert!(take(&mut pace, &limits, 99, start()).is_empty());
    }

    #[test]
    fn turns_that_nobody_took_are_lost() {
        let (mut pace, limits) = (TeacherPace::default(), limits(Some(600), None));
        take(&mut pace, &limits, 1, start());
        assert_eq!(milliseconds(&take(&mut pace, &limits, 2, start() + TimeDelta::seconds(9))), [0, 100]);
    }

    #[test]
    fn tokens_are_charged_by_their_average_and_corrected_by_what_was_spent() {
        let (mut pace, limits) = (TeacherPace::default(), limits(None, Some(60_000)));
        assert_eq!(milliseconds(&take(&mut pace, &limits, 9, start())), [0], "the first is alone");
        count(&mut pace, Spent { calls: 1, tokens: 100, charged: 0 }, &limits, start());
        // A thousand tokens a second: a call of a hundred takes a tenth of a second of them.
        assert_eq!(milliseconds(&take(&mut pace, &limits, 3, start())), [100, 200, 300]);
        count(&mut pace, Spent { calls: 1, tokens: 150, charged: 100 }, &limits, start());
        assert_eq!(milliseconds(&take(&mut pace, &limits, 1, start())), [450]);
    }

    #[test]
    fn no_turn_comes_while_the_teacher_wants_to_be_left_alone() {
        let mut pace = TeacherPace { blocked_until: Some(start() + TimeDelta::seconds(2)), ..TeacherPace::default() };
        assert!(take(&mut pace, &limits(Some(600), None), 9, start()).is_empty());
        let almost = start() + TimeDelta::milliseconds(1700);
        assert_eq!(milliseconds(&take(&mut pace, &limits(Some(600), None), 9, almost)), [300, 400, 500]);
    }
}
