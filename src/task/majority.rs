//! The accuracy that needs no model: always answering the commonest label.

use std::collections::HashMap;

use super::arithmetic;
use crate::domain::{Scorer, TaskDefinition};

/// Accuracy, 0..1, of always giving the commonest of these labels; 0 where there is none.
pub fn majority_accuracy(task: &TaskDefinition, ground_truths: &[String]) -> f64 {
    let mut counts: HashMap<String, u64> = HashMap::new();
    for label in ground_truths {
        *counts.entry(meaning(task, label)).or_default() += 1;
    }
    let commonest = counts.values().max().copied().unwrap_or_default();
    if ground_truths.is_empty() { 0.0 } else { commonest as f64 / ground_truths.len() as f64 }
}

/// What two labels share exactly when a scorer takes one for the other.
fn meaning(task: &TaskDefinition, label: &str) -> String {
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

    #[test]
    fn the_commonest_label_is_counted_by_its_meaning() {
        let owned = |labels: &[&str]| labels.iter().map(|&label| label.to_owned()).collect::<Vec<_>>();
        let text = builtin::find("text").unwrap();
        assert_eq!(majority_accuracy(&text, &owned(&["a", "b", "a", "c"])), 0.5);
        assert_eq!(majority_accuracy(&text, &[]), 0.0);
        let svamp = builtin::find("svamp").unwrap();
        assert_eq!(majority_accuracy(&svamp, &owned(&["(1 + 3)", "( 2.0 * 2.0 )", "5", "6"])), 0.5);
    }
}
