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

/// What is wrong with a label as something to learn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelFault {
    /// It is none of the labels that the task allows, in words.
    NotInSet(String),
    /// It is no expression with a value, which answers are compared by, in words.
    NoValue(String),
}

impl LabelFault {
    /// Why, for people.
    pub fn words(&self) -> &str {
        match self {
            Self::NotInSet(words) | Self::NoValue(words) => words,
        }
    }
}

/// Why no student should learn `label` as the answer to `input`; `None` where one may. A student that learned it would
/// be taught to give an answer that can never be right.
pub fn label_fault(task: &TaskDefinition, input: &str, label: &str) -> Option<LabelFault> {
    match (labels::allowed_labels(task, input), task.scorer) {
        (Some(allowed), _) if allowed.iter().any(|allowed| allowed == label) => None,
        (Some(allowed), _) => Some(LabelFault::NotInSet(labels::not_in_set(label, &allowed))),
        (None, Scorer::Arithmetic) if arithmetic::evaluate(label).is_none() => {
            let shown = labels::shown(label);
            Some(LabelFault::NoValue(format!("label {shown:?} is no arithmetic expression with a value")))
        }
        (None, _) => None,
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

    #[test]
    fn a_label_that_no_answer_can_meet_is_at_fault() {
        let fault =
            |task: &str, input: &str, label: &str| match label_fault(&builtin::find(task).unwrap(), input, label)? {
                LabelFault::NotInSet(_) => Some("not in set"),
                LabelFault::NoValue(_) => Some("no value"),
            };
        for unsolved in ["(25 + x)", "(some - 8)", "(8 / 4) and (6 / 4)", "(3 / 0)"] {
            assert_eq!(fault("svamp", "", unsolved), Some("no value"), "{unsolved}");
        }
        assert_eq!(fault("svamp", "", "( 84.0 / 2.0 )"), None);
        assert_eq!(fault("esnli", "", "entailment\n\nPre"), Some("not in set"));
        assert_eq!(fault("esnli", "", "entailment"), None);
        let choices = "Where?\nAnswer Choices:\n(a) zoo\n(b) aquarium";
        assert_eq!(fault("cqa", choices, "aquarium or"), Some("not in set"));
        assert_eq!(fault("cqa", choices, "zoo"), None);
    }
}
