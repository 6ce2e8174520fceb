//! How much an engine takes on: so many inputs, and so many tokens of inputs. What is more is refused at once, with the time in
//! which, at the pace of late, what waits is answered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::InferenceError;

/// Answers of so long tell the pace.
const WINDOW: Duration = Duration::from_secs(2);
/// Seconds that a client is asked to wait, at most: the pace may change.
const LONGEST_WAIT: u64 = 60;

/// A bound on something that waits.
#[derive(Debug)]
pub(super) struct Bound {
    free: Arc<Semaphore>,
    most: u32,
}

impl Bound {
    /// Room for so much.
    pub fn new(most: usize) -> Self {
        let most = u32::try_from(most.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self { free: Arc::new(Semaphore::new(most as usize)), most }
    }

    /// Places for so much, if they are free. More than there are at all is taken when nothing else waits.
    pub fn take(&self, wanted: usize) -> Option<OwnedSemaphorePermit> {
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).min(self.most);
        Arc::clone(&self.free).try_acquire_many_owned(wanted).ok()
    }

    /// Places that are taken.
    pub fn taken(&self) -> usize {
        (self.most as usize).saturating_sub(self.free.available_permits())
    }
}

/// How fast answers come.
#[derive(Debug)]
pub(super) struct Pace(Mutex<Counted>);

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
        Self(Mutex::new(Counted { since: Instant::now(), answers: 0, before: None }))
    }

    /// An input is answered.
    pub fn answered(&self) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.answers += 1;
        let elapsed = counted.since.elapsed();
        if elapsed >= WINDOW {
            let pace = f64::from(counted.answers) / elapsed.as_secs_f64();
            *counted = Counted { since: Instant::now(), answers: 0, before: Some(pace) };
        }
    }

    /// Somebody comes to an idle engine: what was before tells no pace.
    pub fn restart(&self) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (counted.since, counted.answers) = (Instant::now(), 0);
    }

    /// The refusal of inputs beside which so many wait.
    pub fn overloaded(&self, waiting: usize) -> InferenceError {
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).before;
        InferenceError::Overloaded { seconds: before.map_or(1, |pace| seconds(waiting, pace)) }
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
    fn what_is_given_back_may_be_taken_again() {
        let bound = Bound::new(4);
        let first = bound.take(3).unwrap();
        assert!(bound.take(2).is_none() && bound.taken() == 3);
        drop(first);
        let all = bound.take(9).unwrap();
        assert!(bound.take(1).is_none());
        drop(all);
        assert_eq!(bound.taken(), 0);
    }

    #[test]
    fn who_is_refused_hears_how_long_the_others_take() {
        assert_eq!([seconds(100, 50.0), seconds(1, 50.0), seconds(9000, 0.5)], [2, 1, LONGEST_WAIT]);
        assert_eq!(Pace::new().overloaded(1000), InferenceError::Overloaded { seconds: 1 });
    }
}
