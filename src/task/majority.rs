//! The accuracy that needs no model: always answering the commonest label.

use std::collections::HashMap;

use super::{arithmetic, proportions::share};
use crate::domain::{Scorer, TaskDefinition};

/// How often each label is right.
#[derive(Debug, Clone, Default)]
pub struct Majority {
    counts: HashMap<String, u64>,
    rows: u64,
}

impl Majority {
    /// Counts one row's ground truth.
    pub fn add(&mut self, task: &TaskDefinition, ground_truth: &str) {
        *self.counts.entry(meaning(task, ground_truth)).or_default() += 1;
        self.rows += 1;
    }

    /// Accuracy, 0..1, of always giving the commonest label; 0 where there is none.
    pub fn accuracy(&self) -> f64 {
        share(self.counts.values().max().copied().unwrap_or_default(), self.rows)
    }
}

/// What two labels share exactly when a scorer takes one for the other.
pub(super) fn meaning(task: &TaskDefinition, label: &str) -> String {
    let value = match task.scorer {
        Scorer::ExactMatch => None,
        Scorer::Arithmetic => arithmetic::evaluate(label),
    };
    value.map_or_else(|| label.trim().to_owned(), |value| format!("{value:.9}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::builtin;

    fn accuracy(task: &str, labels: &[&str]) -> f64 {
        let (task, mut majority) = (builtin::find(task).unwrap(), Majority::default());
        labels.iter().for_each(|label| majority.add(&task, label));
        majority.accuracy()
    }

    #[test]
    fn the_commonest_label_is_counted_by_its_meaning() {
        assert_eq!(accuracy("text", &["a", "b", "a", "c"]), 0.5);
        assert_eq!(accuracy("text", &[]), 0.0);
        assert_eq!(accuracy("svamp", &["(1 + 3)", "( 2.0 * 2.0 )", "5", "6"]), 0.5);
    }
}
