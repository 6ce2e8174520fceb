//! One subject's answers, counted: how many are right, and which label was given for which.

use super::{
    proportions::{share, wilson_ci95},
    scoring,
};
use crate::domain::{Confusion, LabelScores, LabelSet, Scores, TaskDefinition};

/// A subject's count over the rows so far.
#[derive(Debug, Clone)]
pub struct Tally {
    examples: u64,
    correct: u64,
    other: u64,
    matrix: Option<Matrix>,
}

impl Tally {
    /// Nothing counted yet. There is a matrix where the task has a fixed label set: the choices of another task differ
    /// from row to row, and free answers have no end.
    pub fn new(task: &TaskDefinition) -> Self {
        let matrix = match &task.label_set {
            LabelSet::Fixed(labels) => Some(Matrix::new(labels)),
            LabelSet::Open | LabelSet::Choices => None,
        };
        Self { examples: 0, correct: 0, other: 0, matrix }
    }

    /// Counts one row's answer, `None` where there is none, and says whether it is right.
    pub fn add(&mut self, task: &TaskDefinition, input: &str, ground_truth: &str, answer: Option<&str>) -> bool {
        let correct = answer.is_some_and(|answer| scoring::is_correct(task, answer, ground_truth));
        self.examples += 1;
        self.correct += u64::from(correct);
        self.other += u64::from(!answer.is_some_and(|answer| scoring::is_readable(task, input, answer)));
        if let Some(matrix) = &mut self.matrix {
            matrix.add(ground_truth, answer);
        }
        correct
    }

    /// The figures.
    pub fn scores(&self) -> Scores {
        let per_label = self.matrix.as_ref().map(Matrix::per_label);
        Scores {
            examples: self.examples,
            correct: self.correct,
            accuracy: share(self.correct, self.examples),
            accuracy_ci95: wilson_ci95(self.correct, self.examples),
            other: self.other,
            macro_f1: per_label.as_deref().and_then(macro_f1),
            per_label,
            confusion: self.matrix.as_ref().map(Matrix::confusion),
        }
    }
}

/// Counts by ground truth (rows) and answer (columns; the last one is "none of them").
#[derive(Debug, Clone)]
struct Matrix {
    labels: Vec<String>,
    counts: Vec<Vec<u64>>,
}

impl Matrix {
    fn new(labels: &[String]) -> Self {
        Self { labels: labels.to_vec(), counts: vec![vec![0; labels.len() + 1]; labels.len()] }
    }

    /// A ground truth outside the set has no row; jobs refuse such files.
    fn add(&mut self, ground_truth: &str, answer: Option<&str>) {
        let place = |text: &str| self.labels.iter().position(|label| label == text.trim());
        let column = answer.and_then(place).unwrap_or(self.labels.len());
        if let Some(row) = place(ground_truth) {
            self.counts[row][column] += 1;
        }
    }

    fn per_label(&self) -> Vec<LabelScores> {
        let scores = self.labels.iter().enumerate().map(|(at, label)| {
            let (right, support) = (self.counts[at][at], self.counts[at].iter().sum());
            let said = self.counts.iter().map(|row| row[at]).sum();
            let ratio = |part: u64, whole: u64| (whole > 0).then(|| share(part, whole));
            LabelScores {
                label: label.clone(),
                support,
                precision: ratio(right, said),
                recall: ratio(right, support),
                f1: ratio(2 * right, said + support),
            }
        });
        scores.collect()
    }

    fn confusion(&self) -> Confusion {
        Confusion { labels: self.labels.clone(), counts: self.counts.clone() }
    }
}

/// The mean F1 of the labels that have one.
fn macro_f1(labels: &[LabelScores]) -> Option<f64> {
    let known: Vec<f64> = labels.iter().filter_map(|label| label.f1).collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::builtin;

    fn counted(task: &TaskDefinition, pairs: &[(&str, &str)]) -> Scores {
        let mut tally = Tally::new(task);
        for (truth, answer) in pairs {
            tally.add(task, "", truth, Some(answer));
        }
        tally.scores()
    }

    /// scikit-learn 1.9, `precision_recall_fscore_support` and `f1_score(average="macro")` with these labels.
    #[test]
    fn figures_by_label_are_those_of_scikit_learn() {
        let (e, n, c) = ("entailment", "neutral", "contradiction");
        let pairs =
            [(e, e), (e, e), (e, n), (e, "maybe"), (n, n), (n, c), (n, n), (c, c), (c, e), (c, c), (c, c), (c, n)];
        let found = counted(&builtin::find("esnli").unwrap(), &pairs);
        assert_eq!((found.examples, found.correct, found.other), (12, 7, 1));
        let confusion = found.confusion.unwrap();
        assert_eq!(confusion.labels, [e, n, c]);
        assert_eq!(confusion.counts, [[2, 1, 0, 1], [0, 2, 1, 0], [1, 1, 3, 0]]);
        let expected =
            [(e, 4, [2.0 / 3.0, 0.5, 4.0 / 7.0]), (n, 3, [0.5, 2.0 / 3.0, 4.0 / 7.0]), (c, 5, [0.75, 0.6, 2.0 / 3.0])];
        for (label, (name, support, figures)) in found.per_label.unwrap().iter().zip(expected) {
            assert_eq!((label.label.as_str(), label.support), (name, support));
            let found = [label.precision.unwrap(), label.recall.unwrap(), label.f1.unwrap()];
            assert!(found.iter().zip(figures).all(|(found, figure)| (found - figure).abs() < 1e-12), "{label:?}");
        }
        assert!((found.macro_f1.unwrap() - 0.603_174_603_174_603_2).abs() < 1e-12);
    }

    #[test]
    fn a_label_that_never_occurs_has_no_figures_and_does_not_lower_the_mean() {
        let found = counted(&builtin::find("esnli").unwrap(), &[("neutral", "neutral"), ("neutral", " neutral\n")]);
        let labels = found.per_label.unwrap();
        assert_eq!((labels[0].precision, labels[0].recall, labels[0].f1), (None, None, None));
        assert_eq!((found.macro_f1, found.correct), (Some(1.0), 2));
    }

    #[test]
    fn arithmetic_counts_by_value_and_what_has_none_as_other() {
        let svamp = builtin::find("svamp").unwrap();
        let found =
            counted(&svamp, &[("( 84.0 / 2.0 )", "(84 / 2)"), ("( 84.0 / 2.0 )", "(83)"), ("( 1.0 + 1.0 )", "(x)")]);
        assert_eq!((found.examples, found.correct, found.other), (3, 1, 1));
        assert!(found.per_label.is_none() && found.confusion.is_none() && found.macro_f1.is_none());
    }

    #[test]
    fn a_row_without_an_answer_is_wrong_and_other() {
        let task = builtin::find("esnli").unwrap();
        let mut tally = Tally::new(&task);
        assert!(!tally.add(&task, "", "neutral", None));
        let found = tally.scores();
        assert_eq!((found.examples, found.correct, found.other), (1, 0, 1));
        assert_eq!(found.confusion.unwrap().counts[1], [0, 0, 0, 1]);
    }
}
