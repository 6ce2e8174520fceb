//! The rate at which one process may ask a teacher: requests and tokens a minute. A request waits for its turn; the
//! tokens that an answer turned out to cost push later turns back.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// When the next request may be sent.
#[derive(Debug)]
pub struct Pace {
    request: Duration,
    token: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    /// No limit where none is given. Both limits hold for this process alone.
    pub fn new(requests_per_minute: Option<u32>, tokens_per_minute: Option<u32>) -> Self {
        let share = |limit: Option<u32>| limit.map_or(Duration::ZERO, |limit| Duration::from_secs(60) / limit.max(1));
        Self { request: share(requests_per_minute), token: share(tokens_per_minute), next: Mutex::new(Instant::now()) }
    }

    /// Waits for a turn. Turns are given in the order of asking, at least one share of a minute apart.
    pub async fn turn(&self) {
        tokio::time::sleep_until(self.reserve(Instant::now())).await;
    }

    /// Books the tokens of an answer.
    pub fn spent(&self, tokens: i64) {
        self.book(tokens, Instant::now());
    }

    fn reserve(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(now);
        *next = turn + self.request;
        turn
    }

    fn book(&self, tokens: i64, now: Instant) {
        let tokens = u32::try_from(tokens.max(0)).unwrap_or(u32::MAX);
        let cost = self.token.saturating_mul(tokens);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = (*next).max(now) + cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_spread_over_the_minute() {
        let (pace, now) = (Pace::new(Some(60), None), Instant::now());
        let waits: Vec<_> = (0..4).map(|_| pace.reserve(now).duration_since(now).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 3]);
    }

    #[test]
    fn tokens_that_were_spent_push_the_next_request_back() {
        let (pace, now) = (Pace::new(None, Some(600)), Instant::now());
        pace.book(50, now);
        assert_eq!(pace.reserve(now).duration_since(now), Duration::from_secs(5));
    }

    #[test]
    fn without_limits_nothing_waits() {
        let (pace, now) = (Pace::new(None, None), Instant::now());
        pace.book(1_000_000, now);
        assert_eq!(pace.reserve(now).duration_since(now), Duration::ZERO);
    }
}
