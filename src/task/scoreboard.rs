//! All subjects of an evaluation, scored on the same rows: each by itself, and each pair row by row.

use super::{
    calibration::Reliability,
    majority::Majority,
    proportions::{Paired, share, wilson_ci95},
    tally::Tally,
};
use crate::domain::{Example, Measure, PairEvaluation, Scores, TaskDefinition};

/// What one model answered to one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The label in its own words.
    pub generated: String,
    /// The best-scored label of a set; none without a set.
    pub scored: Option<String>,
    /// The probability of the scored label, else of the generated one.
    pub confidence: f64,
    /// Whether the input was longer than the model reads.
    pub truncated: bool,
}

/// Which of a row's answers are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// By model: its own words, and its best-scored label.
    pub models: Vec<(bool, Option<bool>)>,
    /// The teacher's answer.
    pub teacher: Option<bool>,
}

/// The figures so far.
#[derive(Debug, Clone)]
pub struct Scoreboard {
    task: TaskDefinition,
    models: Vec<ModelTally>,
    teacher: Option<TeacherTally>,
    pairs: Vec<Pair>,
    majority: Majority,
}

#[derive(Debug, Clone)]
struct ModelTally {
    generated: Tally,
    scored_rows: u64,
    scored_correct: u64,
    reliability: Reliability,
    truncated: u64,
}

#[derive(Debug, Clone)]
struct TeacherTally {
    answers: Tally,
    unanswered: u64,
}

/// Two subjects by their places among the models; the teacher is none of them.
#[derive(Debug, Clone)]
struct Pair {
    first: usize,
    second: Option<usize>,
    accuracy: Paired,
    scored: Paired,
}

/// A model's figures.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelScores {
    /// Its own words.
    pub scores: Scores,
    /// Right rows, share and interval of its best-scored labels; none where no row has a label set.
    pub scored: Option<(u64, f64, [f64; 2])>,
    /// The expected calibration error of its best-scored labels; none where no row has a label set.
    pub calibration_error: Option<f64>,
    /// Inputs that were cut.
    pub truncated: u64,
}

impl Scoreboard {
    /// A board for so many models, and the teacher if it has answers.
    pub fn new(task: TaskDefinition, models: usize, with_teacher: bool) -> Self {
        let tally = ModelTally {
            generated: Tally::new(&task),
            scored_rows: 0,
            scored_correct: 0,
            reliability: Reliability::default(),
            truncated: 0,
        };
        let teacher = with_teacher.then(|| TeacherTally { answers: Tally::new(&task), unanswered: 0 });
        let pair = |first, second| Pair { first, second, accuracy: Paired::default(), scored: Paired::default() };
        let among_models = (0..models).flat_map(|first| (first + 1..models).map(move |second| (first, Some(second))));
        let with_teacher = (0..models).filter(|_| with_teacher).map(|first| (first, None));
        let pairs = among_models.chain(with_teacher).map(|(first, second)| pair(first, second)).collect();
        Self { models: vec![tally; models], teacher, pairs, majority: Majority::default(), task }
    }

    /// Counts a row that has ground truth: each model's answer, in their order, and the teacher's label.
    pub fn add(&mut self, row: &Example, answers: &[&Answer], teacher: Option<&str>) -> Marks {
        let (task, truth) = (&self.task, row.label.as_deref().unwrap_or_default());
        self.majority.add(task, truth);
        let models = self.models.iter_mut().zip(answers).map(|(tally, answer)| tally.add(task, row, truth, answer));
        let models: Vec<_> = models.collect();
        let teacher = self.teacher.as_mut().map(|tally| tally.add(task, row, truth, teacher));
        let marks = Marks { models, teacher };
        self.pairs.iter_mut().for_each(|pair| pair.add(&marks));
        marks
    }

    /// Each model's figures, in their order.
    pub fn models(&self) -> Vec<ModelScores> {
        self.models.iter().map(ModelTally::scores).collect()
    }

    /// The teacher's figures and its rows without an answer.
    pub fn teacher(&self) -> Option<(Scores, u64)> {
        self.teacher.as_ref().map(|tally| (tally.answers.scores(), tally.unanswered))
    }

    /// The accuracy of the commonest label.
    pub fn majority_accuracy(&self) -> f64 {
        self.majority.accuracy()
    }

    /// Each pair by each accuracy that both have; `names` are the models'.
    pub fn pairs(&self, names: &[String]) -> Vec<PairEvaluation> {
        let scored = |model: usize| self.models[model].scored_rows > 0;
        let both_scored = |pair: &Pair| scored(pair.first) && pair.second.is_none_or(scored);
        let evaluations = self.pairs.iter().flat_map(|pair| {
            let scored = both_scored(pair).then(|| pair.evaluation(names, Measure::ScoredAccuracy));
            std::iter::once(pair.evaluation(names, Measure::Accuracy)).chain(scored)
        });
        evaluations.collect()
    }
}

impl ModelTally {
    fn add(&mut self, task: &TaskDefinition, row: &Example, truth: &str, answer: &Answer) -> (bool, Option<bool>) {
        let generated = self.generated.add(task, &row.input, truth, Some(&answer.generated));
        let scored = answer.scored.as_ref().map(|label| super::scoring::is_correct(task, label, truth));
        self.scored_rows += u64::from(scored.is_some());
        if let Some(is_right) = scored {
            self.reliability.add(answer.confidence, is_right);
        }
        // A row without choices is answered in the model's own words, also by predictions.
        self.scored_correct += u64::from(scored.unwrap_or(generated));
        self.truncated += u64::from(answer.truncated);
        (generated, scored)
    }

    fn scores(&self) -> ModelScores {
        let scores = self.generated.scores();
        let (correct, examples) = (self.scored_correct, scores.examples);
        let scored =
            (self.scored_rows > 0).then(|| (correct, share(correct, examples), wilson_ci95(correct, examples)));
        ModelScores { scores, scored, calibration_error: self.reliability.error(), truncated: self.truncated }
    }
}

impl TeacherTally {
    fn add(&mut self, task: &TaskDefinition, row: &Example, truth: &str, answer: Option<&str>) -> bool {
        self.unanswered += u64::from(answer.is_none());
        self.answers.add(task, &row.input, truth, answer)
    }
}

impl Pair {
    fn add(&mut self, marks: &Marks) {
        let scored = |model: usize| marks.models[model].1.unwrap_or(marks.models[model].0);
        let teacher = marks.teacher.unwrap_or_default();
        let second = self.second.map_or(teacher, |model| marks.models[model].0);
        self.accuracy.add(marks.models[self.first].0, second);
        self.scored.add(scored(self.first), self.second.map_or(teacher, scored));
    }

    fn evaluation(&self, names: &[String], measure: Measure) -> PairEvaluation {
        let counts = match measure {
            Measure::Accuracy => self.accuracy,
            Measure::ScoredAccuracy => self.scored,
        };
        PairEvaluation {
            first: names[self.first].clone(),
            second: self.second.map_or_else(|| "teacher".to_owned(), |second| names[second].clone()),
            with_teacher: self.second.is_none(),
            measure,
            difference: counts.difference(),
            difference_ci95: counts.difference_ci95(),
            both_correct: counts.both,
            only_first_correct: counts.only_first,
            only_second_correct: counts.only_second,
            neither_correct: counts.neither,
            mcnemar_p: counts.mcnemar_p(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::builtin;

    fn answer(generated: &str, scored: Option<&str>) -> Answer {
        Answer { generated: generated.to_owned(), scored: scored.map(str::to_owned), confidence: 0.5, truncated: false }
    }

    fn row(label: &str) -> Example {
        Example { label: Some(label.to_owned()), ..Example::default() }
    }

    #[test]
    fn subjects_are_paired_row_by_row_and_with_the_teacher_by_both_accuracies() {
        let mut board = Scoreboard::new(builtin::find("esnli").unwrap(), 2, true);
        let right = answer("neutral", Some("neutral"));
        let wordy = answer("neutral!", Some("neutral"));
        let wrong = answer("entailment", Some("entailment"));
        board.add(&row("neutral"), &[&right, &wordy], Some("neutral"));
        board.add(&row("neutral"), &[&right, &wrong], None);
        let marks = board.add(&row("neutral"), &[&wordy, &right], Some("entailment"));
        assert_eq!(marks, Marks { models: vec![(false, Some(true)), (true, Some(true))], teacher: Some(false) });
        let pairs = board.pairs(&["a".to_owned(), "b".to_owned()]);
        let counts = |pair: &PairEvaluation| {
            [pair.both_correct, pair.only_first_correct, pair.only_second_correct, pair.neither_correct]
        };
        let found: Vec<_> =
            pairs.iter().map(|pair| (pair.first.as_str(), pair.second.as_str(), counts(pair))).collect();
        assert_eq!(
            found,
            [
                ("a", "b", [0, 2, 1, 0]),
                ("a", "b", [2, 1, 0, 0]),
                ("a", "teacher", [1, 1, 0, 1]),
                ("a", "teacher", [1, 2, 0, 0]),
                ("b", "teacher", [0, 1, 1, 1]),
                ("b", "teacher", [1, 1, 0, 1]),
            ]
        );
        assert!(
            pairs.chunks(2).all(|two| (two[0].measure, two[1].measure) == (Measure::Accuracy, Measure::ScoredAccuracy))
        );
        let (teacher, unanswered) = board.teacher().unwrap();
        assert_eq!((teacher.correct, teacher.other, unanswered), (1, 1, 1));
        assert_eq!(board.models()[0].scored.unwrap().0, 3);
        // Half sure of each: three right answers of three, and one right answer of two of the other's three.
        assert_eq!(board.models()[0].calibration_error, Some(0.5));
        assert!((board.models()[1].calibration_error.unwrap() - 0.5 / 3.0).abs() < 1e-12);
        assert_eq!(board.majority_accuracy(), 1.0);
    }

    #[test]
    fn without_a_label_set_there_is_nothing_scored() {
        let mut board = Scoreboard::new(builtin::find("text").unwrap(), 2, false);
        board.add(&row("x"), &[&answer("x", None), &answer("y", None)], None);
        assert!(board.models().iter().all(|model| model.scored.is_none() && model.calibration_error.is_none()));
        assert!(board.teacher().is_none());
        let pairs = board.pairs(&["a".to_owned(), "b".to_owned()]);
        assert_eq!((pairs.len(), pairs[0].measure, pairs[0].difference), (1, Measure::Accuracy, 1.0));
    }
}
