//! Early stopping: a training ends when its exams have not become better for so many in a row.

use serde::{Deserialize, Serialize};

use crate::domain::Hyperparameters;

/// What the exams so far say of going on. Kept in snapshots, so that an interruption costs no patience.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Patience {
    /// The accuracy that an exam must exceed.
    best: Option<f64>,
    /// Exams in a row that did not.
    waited: u32,
}

impl Patience {
    /// Takes an exam's accuracy in. One that is better by less than the request's `early_stopping_min_delta` is none, and
    /// leaves the mark where it was: many small steps may add up to a better one.
    pub fn see(&mut self, accuracy: f64, knobs: &Hyperparameters) {
        if self.best.is_none_or(|best| accuracy > best + knobs.early_stopping_min_delta) {
            (self.best, self.waited) = (Some(accuracy), 0);
        } else {
            self.waited += 1;
        }
    }

    /// Whether so many exams were waited for as may be.
    pub fn is_over(&self, knobs: &Hyperparameters) -> bool {
        knobs.early_stopping_patience.is_some_and(|patience| self.waited >= patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exams_until_over(accuracies: &[f64], patience: Option<u32>, min_delta: f64) -> Option<usize> {
        let knobs = Hyperparameters {
            early_stopping_patience: patience,
            early_stopping_min_delta: min_delta,
            ..Hyperparameters::default()
        };
        let mut waiting = Patience::default();
        let is_over = |accuracy: &f64| {
            waiting.see(*accuracy, &knobs);
            waiting.is_over(&knobs)
        };
        accuracies.iter().position(is_over).map(|place| place + 1)
    }

    #[test]
    fn patience_counts_exams_since_the_last_better_one() {
        let accuracies = [0.1, 0.5, 0.4, 0.6, 0.6, 0.6, 0.7];
        assert_eq!(exams_until_over(&accuracies, Some(2), 0.0), Some(6));
        assert_eq!(exams_until_over(&accuracies, Some(1), 0.0), Some(3));
        assert_eq!(exams_until_over(&accuracies, Some(3), 0.0), None);
        assert_eq!(exams_until_over(&accuracies, None, 0.0), None);
    }

    #[test]
    fn small_steps_may_add_up_to_a_better_exam() {
        let rising = [0.50, 0.52, 0.54, 0.56, 0.58];
        assert_eq!(exams_until_over(&rising, Some(2), 0.03), None);
        assert_eq!(exams_until_over(&rising, Some(2), 0.05), Some(3));
    }
}
