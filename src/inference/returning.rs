//! Clients who ask again as soon as they are answered. Those who were answered together come back one by one; a batch that begins
//! with the first of them leaves the others a step behind, and the steps that they share become fewer. A moment's wait reads them
//! together again. It is worth its time only where they do come back, so whoever does not is waited for ever less often.

use std::time::Duration;

/// How long is waited: a few times what an answer takes to its client and a question back.
pub(super) const MOMENT: Duration = Duration::from_millis(3);

/// Chances to wait that are let pass at most before the next try.
const MOST_PASSED: u32 = 64;

/// Whether those who were answered have lately come back at once.
#[derive(Debug, Default)]
pub(super) struct Returning {
    /// Chances to let pass before the next try.
    to_pass: u32,
    /// Chances that were let pass before the last try; zero as long as they come back.
    passed: u32,
}

impl Returning {
    /// Whether to wait this time.
    pub fn expected(&mut self) -> bool {
        let expected = self.to_pass == 0;
        self.to_pass = self.to_pass.saturating_sub(1);
        expected
    }

    /// So many came of those who were waited for. Half of them are worth it.
    pub fn came(&mut self, came: usize, answered: usize) {
        self.passed = if came * 2 >= answered { 0 } else { (self.passed * 2).clamp(1, MOST_PASSED) };
        self.to_pass = self.passed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many chances were waited at, where so many of four come back.
    fn waited(returning: &mut Returning, chances: usize, came: usize) -> usize {
        let mut waited = 0;
        for _ in 0..chances {
            if returning.expected() {
                returning.came(came, 4);
                waited += 1;
            }
        }
        waited
    }

    #[test]
    fn who_comes_back_is_waited_for_every_time() {
        assert_eq!([4, 2].map(|came| waited(&mut Returning::default(), 1000, came)), [1000, 1000]);
    }

    #[test]
    fn who_stays_away_is_waited_for_ever_less_often_until_they_come_back() {
        let mut returning = Returning::default();
        // After 1, 2, 4, … 64 chances that are let pass; then after each 64.
        assert_eq!(waited(&mut returning, 8 + 1 + 2 + 4 + 8 + 16 + 32 + 64, 1), 8);
        assert_eq!(waited(&mut returning, 65, 4), 1);
        assert_eq!(waited(&mut returning, 10, 4), 10);
    }
}
