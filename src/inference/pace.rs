//! How fast answers come, which tells whoever is refused when to come again.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::InferenceError;

/// Answers of so long tell the pace.
const WINDOW: Duration = Duration::from_secs(2);
/// Seconds that a client is asked to wait, at most: the pace may change.
const LONGEST_WAIT: u64 = 60;

/// The pace of late, shared by all who ask.
#[derive(Debug)]
pub(super) struct Pace(Mutex<Counted>);

/// Answers of a window that goes on, and the pace of the one before.
#[derive(Debug)]
struct Counted {
    since: Instant,
    answers: u32,
    /// Answers a second in the window before.
    before: Option<f64>,
}

impl Pace {
    /// Nothing answered yet.
    pub fn new() -> Self {
        Self(Mutex::new(Counted::new(Instant::now())))
    }

    /// An input is answered. One that failed is none: it says nothing of how long the others take.
    pub fn answered(&self) {
        self.change(|counted, now| counted.answered(now));
    }

    /// Somebody comes to an idle engine: what was before tells no pace.
    pub fn restart(&self) {
        self.change(|counted, now| *counted = Counted::new(now));
    }

    /// The refusal of inputs beside which so many wait.
    pub fn overloaded(&self, waiting: usize) -> InferenceError {
        let pace = self.change(|counted, now| counted.pace(now));
        InferenceError::Overloaded { seconds: pace.map_or(1, |pace| seconds(waiting, pace)) }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Counted, Instant) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), Instant::now())
    }
}

impl Counted {
    fn new(since: Instant) -> Self {
        Self { since, answers: 0, before: None }
    }

    fn answered(&mut self, now: Instant) {
        self.answers += 1;
        if now - self.since >= WINDOW {
            *self = Self { before: self.of_this_window(now), ..Self::new(now) };
        }
    }

    /// Answers a second; of this window alone where there was none before it, and none where nothing was answered yet.
    fn pace(&self, now: Instant) -> Option<f64> {
        self.before.or_else(|| self.of_this_window(now))
    }

    fn of_this_window(&self, now: Instant) -> Option<f64> {
        (self.answers > 0).then(|| f64::from(self.answers) / (now - self.since).as_secs_f64().max(1e-3))
    }
}

/// Whole seconds in which so many are answered at this pace.
fn seconds(waiting: usize, pace: f64) -> u64 {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let seconds = (waiting as f64 / pace.max(1e-3)).ceil().clamp(1.0, LONGEST_WAIT as f64) as u64;
    seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_hears_how_long_the_others_take() {
        assert_eq!([seconds(100, 50.0), seconds(1, 50.0), seconds(9000, 0.5)], [2, 1, LONGEST_WAIT]);
        assert_eq!(Pace::new().overloaded(1000), InferenceError::Overloaded { seconds: 1 });
    }

    #[test]
    fn the_pace_is_that_of_the_window_before_or_else_of_this_one() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut counted = Counted::new(start);
        assert_eq!(counted.pace(at(500)), None);
        (0..3).for_each(|_| counted.answered(at(1000)));
        assert_eq!(counted.pace(at(1000)), Some(3.0));
        counted.answered(at(2000));
        assert_eq!((counted.pace(at(2000)), counted.answers), (Some(2.0), 0));
        counted.answered(at(2001));
        assert_eq!(counted.pace(at(2001)), Some(2.0), "a window that has just begun tells little");
    }

    #[test]
    fn an_idle_engine_forgets_its_pace() {
        let pace = Pace::new();
        pace.change(|counted, _| counted.before = Some(0.1));
        assert_eq!(pace.overloaded(3), InferenceError::Overloaded { seconds: 30 });
        pace.restart();
        assert_eq!(pace.overloaded(3), InferenceError::Overloaded { seconds: 1 });
    }
}
