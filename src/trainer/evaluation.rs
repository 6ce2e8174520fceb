//! How often the student's generated label is right.

use tch::Tensor;

use super::data::Question;
use super::learner::Learner;
use super::lessons::LessonWriter;
use super::{StopRequest, TrainError};
use crate::device::{self, DeviceError};
use crate::domain::{AttemptSpec, LabelSource, Measurement, Method, Split, single_target};
use crate::student::{T5, batch, generation};
use crate::task::scoring;

/// Rows answered at once; fewer where they do not fit into memory.
const BATCH: usize = 64;
/// Decoded predictions shown with each evaluation.
const SHOWN: usize = 3;
/// Characters shown of each of their texts: they are stored with every exam, and an input may be a megabyte.
const SHOWN_CHARS: usize = 300;

/// Rows to be asked about, as the student reads them.
pub struct Exam {
    pub(super) questions: Vec<Question>,
    inputs: Vec<Vec<i64>>,
    /// Places in `questions` by rising input length, so that a batch has little padding.
    pub(super) by_length: Vec<usize>,
    answer_length: usize,
}

/// What an exam found.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// Share of rows whose generated label is right, 0..1.
    pub accuracy: f64,
    /// The first few rows.
    pub shown: Vec<Shown>,
}

/// One decoded prediction; of long texts, how they begin.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Shown {
    /// What was asked.
    pub input: String,
    /// What would be right.
    pub answer: String,
    /// What the student wrote.
    pub generated: String,
}

impl Exam {
    /// An exam of at most `limit` questions.
    pub fn new(mut questions: Vec<Question>, limit: Option<u32>, writer: &mut LessonWriter<'_>) -> Self {
        questions.truncate(limit.map_or(usize::MAX, |limit| limit as usize));
        let inputs: Vec<Vec<i64>> = questions.iter().map(|question| writer.question(&question.input)).collect();
        let answer_length = writer.answer_length(&questions);
        let mut by_length: Vec<usize> = (0..inputs.len()).collect();
        by_length.sort_by_key(|&index| inputs[index].len());
        Self { questions, inputs, by_length, answer_length }
    }

    /// Whether there is anything to ask.
    pub fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// What is to be told of an accuracy that was found here.
    pub fn measured(&self, split: Split, accuracy: f64) -> Measurement {
        let by_ground_truth = self.questions.iter().filter(|question| question.by == LabelSource::GroundTruth).count();
        Measurement { split, accuracy, rows: self.questions.len() as u64, by_ground_truth: by_ground_truth as u64 }
    }

    /// Has the student answer every question, without help from the right answers. Nothing when it was asked to stop
    /// meanwhile: a part of an exam says nothing.
    pub fn take(
        &self,
        learner: &Learner,
        spec: &AttemptSpec,
        stop: &StopRequest,
    ) -> Result<Option<Findings>, TrainError> {
        let (_, model) = learner.to_compute()?;
        let answer = |rows: &[usize]| self.answer(learner, &model, rows);
        let Some(answers) = in_batches(&self.by_length, stop, answer)? else { return Ok(None) };
        let mut labels = vec![String::new(); self.questions.len()];
        for (index, text) in answers {
            labels[index] = match spec.method {
                Method::RationaleThenLabel => single_target::split(&text).1.to_owned(),
                Method::StepByStep | Method::Standard => text,
            };
        }
        Ok(Some(self.mark(spec, labels)))
    }

    /// What the student writes to these rows.
    pub(super) fn answer(&self, learner: &Learner, model: &T5, rows: &[usize]) -> Vec<String> {
        let (input_ids, mask) = self.padded(learner, rows);
        let generated = generation::greedy(model, &input_ids, &mask, self.answer_length);
        generated.into_iter().map(|answer| learner.tokenizer.decode(&answer.ids)).collect()
    }

    /// The inputs of these rows (rows, length) and their mask.
    pub(super) fn padded(&self, learner: &Learner, rows: &[usize]) -> (Tensor, Tensor) {
        let inputs: Vec<&[i64]> = rows.iter().map(|&index| self.inputs[index].as_slice()).collect();
        batch::pad(&inputs, learner.config.pad_token_id, learner.device)
    }

    fn mark(&self, spec: &AttemptSpec, labels: Vec<String>) -> Findings {
        let pairs = || self.questions.iter().zip(&labels);
        let right =
            pairs().filter(|(question, label)| scoring::is_correct(&spec.task, label, &question.answer)).count();
        let shown = pairs().take(SHOWN).map(|(question, label)| Shown {
            input: cut(&question.input),
            answer: cut(&question.answer),
            generated: cut(label),
        });
        Findings { accuracy: right as f64 / self.questions.len().max(1) as f64, shown: shown.collect() }
    }
}

/// What is computed for each of some rows, so many at once as fit into memory; nothing when it was to stop meanwhile.
pub(super) fn in_batches<T>(
    rows: &[usize],
    stop: &StopRequest,
    compute: impl Fn(&[usize]) -> Vec<T>,
) -> Result<Option<Vec<(usize, T)>>, TrainError> {
    let (mut found, mut left, mut at_once) = (Vec::with_capacity(rows.len()), rows, BATCH);
    while !left.is_empty() {
        if stop.is_made() {
            return Ok(None);
        }
        let (rows, others) = left.split_at(left.len().min(at_once));
        match device::catch("an exam", || compute(rows)) {
            Ok(computed) => found.extend(rows.iter().copied().zip(computed)),
            Err(DeviceError::OutOfMemory { .. }) if rows.len() > 1 => {
                at_once = rows.len() / 2;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        left = others;
    }
    Ok(Some(found))
}

/// The beginning of a text, marked where it goes on.
fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
