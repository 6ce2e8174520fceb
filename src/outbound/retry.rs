//! When to try again: full jitter below an exponential ceiling, and never before the other end asked for.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The ceiling of the first wait; it doubles with each failure.
const FIRST_CEILING: Duration = Duration::from_millis(500);
/// The highest ceiling.
const LAST_CEILING: Duration = Duration::from_secs(60);
/// A server that asks for more is asked again after this long.
const LONGEST_FLOOR: Duration = Duration::from_secs(600);
/// How far a server's clock may be off ours before a date is taken by its own.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::seconds(2);
/// A wish for more is a mistake: quotas come back within a day, and some servers send years.
const LONGEST_WISH: Duration = Duration::from_secs(24 * 3600);

/// The wait after `failures` failed calls, by the process's own dice.
pub fn pause(failures: u32, retry_after: Option<Duration>) -> Duration {
    backoff(failures, retry_after, rand::random())
}

/// The wait after `failures` failed calls (1 after the first): `chance`, in [0, 1), of
/// `min(60 s, 0.5 s · 2^failures)`, and at least `retry_after`.
pub fn backoff(failures: u32, retry_after: Option<Duration>, chance: f64) -> Duration {
    let doublings = failures.min(16);
    let ceiling = FIRST_CEILING.saturating_mul(1 << doublings).min(LAST_CEILING);
    let jittered = ceiling.mul_f64(chance.clamp(0.0, 1.0));
    jittered.max(floor(retry_after))
}

/// What of a server's wish to be left alone is kept to before it is asked again.
pub fn floor(retry_after: Option<Duration>) -> Duration {
    retry_after.unwrap_or_default().min(LONGEST_FLOOR)
}

/// How long a reply's headers ask to wait: `retry-after-ms`, or `retry-after` in seconds or as an HTTP date. A date in
/// the past is no wait; what cannot be read, or is absurdly long, is no wish. A date is one of the server's clock, which
/// its `Date` tells; ours, which is finer, is taken where they agree.
pub fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let theirs = text(DATE.as_str()).and_then(date).filter(|theirs| (*theirs - now).abs() > CLOCKS_DIFFER);
    let now = theirs.unwrap_or(now);
    let milliseconds = text("retry-after-ms").and_then(|text| duration(text, 1e-3));
    let wish = milliseconds.or_else(|| {
        let wish = text(RETRY_AFTER.as_str())?;
        duration(wish, 1.0).or_else(|| Some((date(wish)? - now).to_std().unwrap_or_default()))
    });
    wish.filter(|wish| *wish <= LONGEST_WISH)
}

fn duration(number: &str, unit_seconds: f64) -> Option<Duration> {
    let number: f64 = number.parse().ok().filter(|number: &f64| *number >= 0.0)?;
    Duration::try_from_secs_f64(number * unit_seconds).ok()
}

fn date(text: &str) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc2822(text).ok()?.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &'static str, value: &'static str) -> Option<Duration> {
        told(&[(name, value)])
    }

    fn told(headers: &[(&'static str, &'static str)]) -> Option<Duration> {
        let now = DateTime::parse_from_rfc3339("2015-10-21T07:28:00Z").unwrap().to_utc();
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        retry_after(&headers.collect::<HeaderMap>(), now)
    }

    #[test]
    fn the_ceiling_doubles_up_to_a_minute_and_chance_takes_a_part_of_it() {
        let seconds = |failures, chance| backoff(failures, None, chance).as_secs_f64();
        assert_eq!((seconds(1, 0.5), seconds(2, 0.5), seconds(3, 0.25)), (0.5, 1.0, 1.0));
        assert_eq!((seconds(7, 0.999), seconds(u32::MAX, 1.0), seconds(9, 0.0)), (59.94, 60.0, 0.0));
    }

    #[test]
    fn the_servers_wish_is_a_floor_with_a_limit() {
        let floor = |seconds| backoff(1, Some(Duration::from_secs(seconds)), 0.5).as_secs_f64();
        assert_eq!((floor(7), floor(0), floor(u64::MAX)), (7.0, 0.5, 600.0));
    }

    #[test]
    fn both_forms_of_the_header_are_read_and_nonsense_is_not() {
        assert_eq!(asked("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("retry-after-ms", "1500"), Some(Duration::from_millis(1500)));
        assert_eq!(asked("retry-after", "Wed, 21 Oct 2015 07:29:30 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(asked("retry-after", "Wed, 21 Oct 2015 07:00:00 GMT"), Some(Duration::ZERO));
        for nonsense in ["soon", "-3", "NaN", ""] {
            assert_eq!(asked("retry-after", nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_date_is_one_of_the_servers_clock() {
        let wish = ("retry-after", "Wed, 21 Oct 2015 08:28:30 GMT");
        for (date, seconds) in [
            ("Wed, 21 Oct 2015 08:28:00 GMT", 30),
            ("Wed, 21 Oct 2015 07:28:01 GMT", 3630),
            ("Wed, 21 Oct 2015 09:00:00 GMT", 0),
            ("today", 3630),
        ] {
            assert_eq!(told(&[("date", date), wish]), Some(Duration::from_secs(seconds)), "{date}");
        }
        assert_eq!(
            told(&[("date", "Wed, 21 Oct 2015 08:28:00 GMT"), ("retry-after", "7")]),
            Some(Duration::from_secs(7))
        );
    }

    #[test]
    fn an_absurdly_long_wish_is_none() {
        assert_eq!(asked("retry-after", "86400"), Some(Duration::from_secs(86_400)));
        for absurd in ["31536000", "1e300", "inf", "Wed, 21 Oct 2195 07:28:00 GMT"] {
            assert_eq!(asked("retry-after", absurd), None, "{absurd}");
        }
    }
}
