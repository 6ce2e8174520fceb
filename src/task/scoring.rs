//! Whether an answer is right.

use super::{arithmetic, labels};
use crate::domain::{Scorer, TaskDefinition};

/// Whether `answer` is right where people said `ground_truth`. An answer without a value is wrong, as the paper counts.
pub fn is_correct(task: &TaskDefinition, answer: &str, ground_truth: &str) -> bool {
    match task.scorer {
        Scorer::ExactMatch => answer.trim() == ground_truth.trim(),
        Scorer::Arithmetic => {
            let values = (arithmetic::evaluate(answer), arithmetic::evaluate(ground_truth));
            matches!(values, (Some(left), Some(right)) if arithmetic::same_value(left, right))
        }
    }
}

/// Whether `answer` is one that the task allows for `input` at all: a label of the set, or an expression with a value. Where
/// any text will do, one that is not empty.
pub fn is_readable(task: &TaskDefinition, input: &str, answer: &str) -> bool {
    match (labels::allowed_labels(task, input), task.scorer) {
        (Some(allowed), _) => allowed.iter().any(|label| label == answer.trim()),
        (None, Scorer::Arithmetic) => arithmetic::evaluate(answer).is_some(),
        (None, Scorer::ExactMatch) => !answer.trim().is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::builtin;

    #[test]
    fn equations_are_compared_by_value_and_words_by_letter() {
        let svamp = builtin::find("svamp").unwrap();
        assert!(is_correct(&svamp, "(50 - 46)", "( 50.0 - 46.0 )"));
        assert!(is_correct(&svamp, "2 * 2", "( 50.0 - 46.0 )"));
        assert!(!is_correct(&svamp, "(25 + x)", "(25 + x)"));
        let esnli = builtin::find("esnli").unwrap();
        assert!(is_correct(&esnli, "neutral", "neutral"));
        assert!(!is_correct(&esnli, "Neutral", "neutral"));
    }
}
