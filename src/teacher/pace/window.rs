//! The window of calls that a teacher bears at once: additive increase, multiplicative decrease, as TCP finds the width
//! of a path. It is not narrower than the configured concurrency until the teacher pushes something back.
//!
//! ```text
//!  an answer ─────────────▶ wider: doubles with each round trip up to the threshold, then grows by one
//!  a push-back ───────────▶ narrower, once a round trip: push-backs of calls sent before belong to the same jam
//!  a windowful of them,
//!  and no answer between ─▶ the floor: one call, after a wait that doubles; then wider again
//! ```

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{domain::TeacherPace, outbound::retry};

/// The narrowest window.
pub(super) const FLOOR: f64 = 1.0;
/// What a push-back leaves of the window. RFC 9438 (CUBIC) has the same for TCP: with one half, which is older, a teacher
/// that pushes back one call in ten at random would hardly be asked any more.
const KEPT: f64 = 0.7;

/// Calls that the teacher pushed back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PushBacks {
    /// How many.
    pub calls: u32,
    /// How long ago the youngest of them was sent.
    pub sent_ago: Duration,
    /// How long the teacher wants to be left alone by everybody, from now on.
    pub retry_after: Duration,
}

/// Calls that may be under way at once, where `limit` is configured.
pub(super) fn width(pace: &TeacherPace, limit: u32) -> u32 {
    let width = pace.window.map_or(limit, |window| window.max(FLOOR) as u32);
    width.min(limit.max(1))
}

/// Takes note of answers.
pub(super) fn widen(pace: &mut TeacherPace, answered: u32, limit: u32) {
    if answered == 0 {
        return;
    }
    (pace.pushed_back, pace.outages) = (0, 0);
    let Some(window) = pace.window else { return };
    let doubling = (pace.threshold - window).clamp(0.0, f64::from(answered));
    let wider = window + doubling;
    let wider = wider + (f64::from(answered) - doubling) / wider;
    // Nothing is remembered of a teacher that bears all that is allowed: the limit may be raised later.
    pace.window = Some(wider).filter(|wider| *wider < f64::from(limit));
}

/// Takes note of push-backs; `chance`, in [0, 1), is the part of the longest wait that an outage gets.
pub(super) fn narrow(pace: &mut TeacherPace, back: PushBacks, limit: u32, now: DateTime<Utc>, chance: f64) {
    pace.pushed_back = pace.pushed_back.saturating_add(i64::from(back.calls));
    block(pace, back.retry_after, now);
    if pace.narrowed_at.is_some_and(|at| earlier(now, back.sent_ago) <= at) {
        return;
    }
    pace.narrowed_at = Some(now);
    let window = pace.window.unwrap_or(f64::from(limit)).min(f64::from(limit)).max(FLOOR);
    let narrower = (window * KEPT).max(FLOOR);
    if (pace.pushed_back as f64) < window {
        (pace.window, pace.threshold) = (Some(narrower), narrower);
        return;
    }
    pace.outages = pace.outages.saturating_add(1);
    (pace.window, pace.threshold) = (Some(FLOOR), pace.threshold.max(narrower));
    let failures = u32::try_from(pace.outages).unwrap_or(1);
    block(pace, retry::backoff(failures, None, chance), now);
}

fn block(pace: &mut TeacherPace, wait: Duration, now: DateTime<Utc>) {
    if !wait.is_zero() {
        pace.blocked_until = pace.blocked_until.max(Some(later(now, wait)));
    }
}

pub(super) fn later(now: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by).ok().and_then(|by| now.checked_add_signed(by)).unwrap_or(now)
}

fn earlier(now: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by).ok().and_then(|by| now.checked_sub_signed(by)).unwrap_or(DateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(50);

    fn start() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
    }

    fn after(seconds: f64) -> DateTime<Utc> {
        later(start(), Duration::from_secs_f64(seconds))
    }

    fn pushed(calls: u32, sent_ago: Duration) -> PushBacks {
        PushBacks { calls, sent_ago, retry_after: Duration::ZERO }
    }

    #[test]
    fn one_jam_narrows_once_and_a_later_one_again() {
        let mut pace = TeacherPace::default();
        narrow(&mut pace, pushed(1, ROUND_TRIP), 64, after(1.0), 0.5);
        narrow(&mut pace, pushed(9, ROUND_TRIP), 64, after(1.01), 0.5);
        assert_eq!((width(&pace, 64), pace.blocked_until), (44, None));
        narrow(&mut pace, pushed(1, ROUND_TRIP), 64, after(1.2), 0.5);
        assert_eq!(width(&pace, 64), 31);
    }

    #[test]
    fn answers_widen_by_one_a_round_trip_until_nothing_is_remembered() {
        let mut pace = TeacherPace { window: Some(10.0), threshold: 10.0, ..TeacherPace::default() };
        widen(&mut pace, 10, 12);
        assert_eq!(width(&pace, 12), 11);
        widen(&mut pace, 11, 12);
        assert_eq!((pace.window, width(&pace, 12), width(&pace, 40)), (None, 12, 40));
    }

    #[test]
    fn a_windowful_of_push_backs_without_an_answer_is_an_outage_with_waits_that_double() {
        let mut pace = TeacherPace::default();
        narrow(&mut pace, pushed(8, ROUND_TRIP), 8, after(1.0), 0.5);
        assert_eq!((width(&pace, 8), pace.blocked_until), (1, Some(after(1.5))));
        // The rest of the same wave is no second outage; the next probe is.
        narrow(&mut pace, pushed(5, ROUND_TRIP), 8, after(1.01), 0.5);
        assert_eq!(pace.outages, 1);
        narrow(&mut pace, pushed(1, ROUND_TRIP), 8, after(2.0), 0.5);
        assert_eq!((pace.outages, pace.blocked_until), (2, Some(after(3.0))));
        // After it the window doubles: 1, 2, 4.
        let widths = [1, 2].map(|answers| {
            widen(&mut pace, answers, 8);
            width(&pace, 8)
        });
        assert_eq!((widths, pace.outages, pace.pushed_back), ([2, 4], 0, 0));
    }

    #[test]
    fn a_wish_to_be_left_alone_is_kept_until_a_longer_one_comes() {
        let mut pace = TeacherPace::default();
        for (seconds, until) in [(7, 7.0), (2, 7.0), (9, 9.0)] {
            let wish = PushBacks { retry_after: Duration::from_secs(seconds), ..pushed(1, ROUND_TRIP) };
            narrow(&mut pace, wish, 64, start(), 0.5);
            assert_eq!(pace.blocked_until, Some(after(until)));
        }
    }
}
