//! The rows of an attempt: read, checked, counted and divided. No tensor, no token.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde_json::{Value, json};

use super::TrainError;
use super::division::{carve, share};
use crate::domain::{AttemptSpec, AttemptValidation, Example, LabelSource, Method, Split};
use crate::task::{examples, labels};

/// Counted under this reason: the row has no label from the label source.
pub const NO_LABEL: &str = "no_label";
/// Counted under this reason: the row has no rationale, and the method needs one.
pub const NO_RATIONALE: &str = "no_rationale";
/// Counted under this reason: the row's label is none that the task allows.
pub const LABEL_NOT_IN_SET: &str = "label_not_in_set";
/// Counted under this reason: the row has no rationale and is learned for its label alone. Not a dropped row.
pub const LABEL_ONLY: &str = "label_only";
/// Counted under this reason: the row's split keeps it for something else. Left out on purpose, so not a dropped row.
pub const OTHER_SPLIT: &str = "other_split";

/// A row to learn from.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The input, without prefix.
    pub input: String,
    /// The label to learn.
    pub label: String,
    /// The rationale to learn.
    pub rationale: Option<String>,
}

/// A row to be asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The input, without prefix.
    pub input: String,
    /// The label that counts as right.
    pub answer: String,
    /// Whose label that is.
    pub by: LabelSource,
}

impl Question {
    /// A row that would have been learned by this source's label, and is scored by it instead.
    fn held_back(row: Row, by: LabelSource) -> Self {
        Self { input: row.input, answer: row.label, by }
    }
}

/// All rows of an attempt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Data {
    /// Rows to learn from.
    pub training: Vec<Row>,
    /// Rows that choose the weights to keep.
    pub validation: Vec<Question>,
    /// Rows looked at once, at the end.
    pub test: Vec<Question>,
    /// Rows left out or learned in part, by reason.
    pub dropped: BTreeMap<String, u64>,
}

impl Data {
    /// Reads the files of an attempt. Validation rows are carved out before `train_fraction` is applied, so that they
    /// are the same for every fraction. A carved-out row is scored by the label that it would have been learned by; a
    /// row of a validation or test file by its ground truth, or else by that label.
    pub fn read(folder: &Path, spec: &AttemptSpec) -> Result<Self, TrainError> {
        let mut examples = Vec::new();
        let mut kept_away = 0;
        for name in &spec.training {
            examples.extend(read(folder, name, Split::Train, &mut kept_away)?);
        }
        refuse_hopeless(spec, &examples)?;
        let rows_read = examples.len();
        let (rows, mut dropped) = usable(spec, examples);
        refuse_too_many_dropped(spec, rows_read, &dropped)?;

        let (training, validation) = match &spec.validation {
            AttemptValidation::File(name) => (rows, asked(folder, name, spec, Split::Validation, &mut kept_away)?),
            AttemptValidation::Fraction { fraction, seed } => {
                let (training, held_back) = carve(rows, *fraction, *seed);
                (training, held_back.into_iter().map(|row| Question::held_back(row, spec.label_source)).collect())
            }
        };
        let training = share(training, &spec.hyperparameters);
        if training.is_empty() {
            return Err(TrainError::refused("no_training_rows", "no row is left to learn from", "add training rows"));
        }
        let test = match &spec.test {
            Some(name) => asked(folder, name, spec, Split::Test, &mut kept_away)?,
            None => Vec::new(),
        };
        if kept_away > 0 {
            dropped.insert(OTHER_SPLIT.to_owned(), kept_away);
        }
        Ok(Self { training, validation, test, dropped })
    }

    /// How many rows there are of each kind.
    pub fn counts(&self) -> Value {
        json!({
            "training": self.training.len(),
            "validation": self.validation.len(),
            "test": self.test.len(),
            "dropped": self.dropped,
        })
    }
}

/// The file's rows of that split and those without one; the others are counted.
fn read(folder: &Path, name: &str, split: Split, kept_away: &mut u64) -> Result<Vec<Example>, TrainError> {
    let path = folder.join(name);
    let file = File::open(&path).map_err(TrainError::file(&path))?;
    let mut rows: Vec<Example> =
        examples::read(BufReader::new(file)).collect::<Result<_, _>>().map_err(TrainError::file(&path))?;
    let all = rows.len();
    rows.retain(|example| example.split.is_none_or(|own| own == split));
    *kept_away += (all - rows.len()) as u64;
    Ok(rows)
}

/// The questions of a file that was named for this split. One that gives none is refused: without it the training would
/// choose no weights, or be tested on nothing, and not say so.
fn asked(
    folder: &Path,
    name: &str,
    spec: &AttemptSpec,
    split: Split,
    kept_away: &mut u64,
) -> Result<Vec<Question>, TrainError> {
    let rows = read(folder, name, split, kept_away)?;
    let (split, is_empty) = (split.as_str(), rows.is_empty());
    let questions = questions(spec, rows);
    match (questions.is_empty(), is_empty) {
        (false, _) => Ok(questions),
        (true, true) => {
            let message = format!("every row of the {split} file is of another split than {split}");
            Err(TrainError::refused("no_rows_of_split", message, "name a file that has such rows"))
        }
        (true, false) => {
            let message = format!("no {split} row has a label to compare answers with");
            Err(TrainError::refused("missing_labels", message, "name a file whose rows have a label"))
        }
    }
}

/// What no row has cannot be learned: better said than counted.
fn refuse_hopeless(spec: &AttemptSpec, examples: &[Example]) -> Result<(), TrainError> {
    if examples.is_empty() {
        return Err(TrainError::refused("no_training_rows", "the training files hold no row", "add training rows"));
    }
    let source = spec.label_source;
    if examples.iter().all(|example| example.label_from(source).is_none()) {
        let (code, message, hint) = match source {
            LabelSource::Teacher => (
                "missing_teacher_labels",
                "label_source is `teacher`, and no training row has a teacher_label",
                "train on the output of an annotation job, or set label_source to `ground_truth`",
            ),
            LabelSource::GroundTruth => (
                "missing_labels",
                "label_source is `ground_truth`, and no training row has a label",
                "add labels, or set label_source to `teacher`",
            ),
        };
        return Err(TrainError::refused(code, message, hint));
    }
    if spec.method != Method::Standard && examples.iter().all(|example| example.rationale.is_none()) {
        let message = format!("method is `{}`, and no training row has a rationale", spec.method.as_str());
        let hint = "train on the output of an annotation job, or set method to `standard`";
        return Err(TrainError::refused("missing_rationales", message, hint));
    }
    Ok(())
}

fn usable(spec: &AttemptSpec, examples: Vec<Example>) -> (Vec<Row>, BTreeMap<String, u64>) {
    let mut counts = BTreeMap::new();
    let mut count = |reason: &str| *counts.entry(reason.to_owned()).or_default() += 1;
    let mut rows = Vec::with_capacity(examples.len());
    for example in examples {
        let reason = fault(spec, &example);
        if let Some(reason) = reason {
            count(reason);
            if reason != LABEL_ONLY {
                continue;
            }
        }
        let label = example.label_from(spec.label_source).map(str::to_owned);
        rows.extend(label.map(|label| Row { input: example.input, label, rationale: example.rationale }));
    }
    (rows, counts)
}

/// What a row lacks.
fn fault(spec: &AttemptSpec, example: &Example) -> Option<&'static str> {
    let Some(label) = example.label_from(spec.label_source) else { return Some(NO_LABEL) };
    let allowed = labels::allowed_labels(&spec.task, &example.input);
    if allowed.is_some_and(|allowed| !allowed.iter().any(|one| one == label)) {
        return Some(LABEL_NOT_IN_SET);
    }
    match (spec.method, &example.rationale) {
        (Method::StepByStep, None) => Some(LABEL_ONLY),
        (Method::RationaleThenLabel, None) => Some(NO_RATIONALE),
        _ => None,
    }
}

fn refuse_too_many_dropped(
    spec: &AttemptSpec,
    rows_read: usize,
    counts: &BTreeMap<String, u64>,
) -> Result<(), TrainError> {
    let dropped: u64 = counts.iter().filter(|(reason, _)| *reason != LABEL_ONLY).map(|(_, count)| count).sum();
    if dropped as f64 <= spec.max_dropped_ratio * rows_read as f64 {
        return Ok(());
    }
    let reasons: Vec<String> = counts.iter().map(|(reason, count)| format!("{reason}: {count}")).collect();
    let message = format!(
        "{dropped} of {rows_read} training rows cannot be used ({}), more than max_dropped_ratio {}",
        reasons.join(", "),
        spec.max_dropped_ratio
    );
    Err(TrainError::refused("too_many_dropped_rows", message, "repair the rows, or raise max_dropped_ratio"))
}

fn questions(spec: &AttemptSpec, examples: Vec<Example>) -> Vec<Question> {
    let question = |example: Example| {
        let by = if example.label.is_some() { LabelSource::GroundTruth } else { spec.label_source };
        let answer = example.label_from(by)?.to_owned();
        Some(Question { input: example.input, answer, by })
    };
    examples.into_iter().filter_map(question).collect()
}
