//! The rows of an attempt: read, checked, counted and divided. No tensor, no token.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde_json::{Value, json};

use super::division::{carve, share};
use super::dropped::{self, Dropped, OTHER_SPLIT};
use super::{TrainError, rationales};
use crate::domain::{AttemptSpec, AttemptValidation, Example, LabelSource, Method, Split};
use crate::task::examples;

/// A row to learn from.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The input, without prefix.
    pub input: String,
    /// The label to learn.
    pub label: String,
    /// The rationales to learn.
    pub rationales: Vec<String>,
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
    /// Rows looked at once for each seed, after that seed's training.
    pub test: Vec<Question>,
    /// Rows left out or learned in part.
    pub dropped: Dropped,
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
        let (examples, without_rationale) = rationales::choose(spec, examples);
        rationales::refuse_if_none_is_left(spec, &examples)?;
        let rows_read = examples.len();
        let (rows, mut dropped) = dropped::usable(spec, examples);
        dropped.refuse_too_many(spec, rows_read)?;

        let (training, validation) = match &spec.validation {
            AttemptValidation::File(name) => (rows, asked(folder, name, spec, Split::Validation, &mut kept_away)?),
            AttemptValidation::Fraction { fraction, seed } => {
                let (training, held_back) = carve(rows, *fraction, *seed);
                (training, held_back.into_iter().map(|row| Question::held_back(row, spec.label_source)).collect())
            }
        };
        let mut training = share(training, &spec.hyperparameters);
        rationales::shuffle(&mut training, spec.rationales.shuffle, spec.hyperparameters.seed);
        if training.is_empty() {
            return Err(TrainError::refused("no_training_rows", "no row is left to learn from", "add training rows"));
        }
        let test = match &spec.test {
            Some(name) => asked(folder, name, spec, Split::Test, &mut kept_away)?,
            None => Vec::new(),
        };
        if kept_away > 0 {
            dropped.counts.insert(OTHER_SPLIT.to_owned(), kept_away);
        }
        dropped.counts.extend(without_rationale);
        Ok(Self { training, validation, test, dropped })
    }

    /// How many rows there are of each kind.
    pub fn counts(&self) -> Value {
        json!({
            "training": self.training.len(),
            "validation": self.validation.len(),
            "test": self.test.len(),
            "dropped": self.dropped.counts,
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

fn questions(spec: &AttemptSpec, examples: Vec<Example>) -> Vec<Question> {
    let question = |example: Example| {
        let by = if example.label.is_some() { LabelSource::GroundTruth } else { spec.label_source };
        let answer = example.label_from(by)?.to_owned();
        Some(Question { input: example.input, answer, by })
    };
    examples.into_iter().filter_map(question).collect()
}
