//! Rows as token ids: what the student reads and what it must answer, by method.

use super::TrainError;
use super::data::{Question, Row};
use crate::domain::{AttemptSpec, LabelSet, Method, single_target};
use crate::student::{StudentTokenizer, scoring::MAX_LABEL_TOKENS};
use crate::task::labels;

/// What a sequence teaches. Each objective has a loss of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// The label, or for `rationale_then_label` the one target that ends with it.
    Label,
    /// The rationale.
    Rationale,
}

/// An input and its target as token ids, each ending with `</s>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// What the encoder reads.
    pub input: Vec<i64>,
    /// What the decoder must write.
    pub target: Vec<i64>,
}

/// Everything that one row teaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lesson {
    label: Sequence,
    rationale: Option<Sequence>,
}

impl Lesson {
    /// The sequence that serves an objective.
    pub fn sequence(&self, objective: Objective) -> Option<&Sequence> {
        match objective {
            Objective::Label => Some(&self.label),
            Objective::Rationale => self.rationale.as_ref(),
        }
    }
}

/// Writes token ids; counts what it had to cut.
pub struct LessonWriter<'a> {
    spec: &'a AttemptSpec,
    tokenizer: &'a StudentTokenizer,
    /// Inputs and targets cut at their maximum length so far.
    pub truncated: u64,
}

impl<'a> LessonWriter<'a> {
    /// A writer for one attempt.
    pub fn new(spec: &'a AttemptSpec, tokenizer: &'a StudentTokenizer) -> Self {
        Self { spec, tokenizer, truncated: 0 }
    }

    /// Refuses a label set that the finished student could not choose from.
    pub fn check_labels(&self) -> Result<(), TrainError> {
        let LabelSet::Fixed(labels) = &self.spec.task.label_set else { return Ok(()) };
        let tokens = |label: &String| self.tokenizer.encode(label, usize::MAX).ids.len();
        match labels.iter().find(|label| tokens(label) > MAX_LABEL_TOKENS) {
            None => Ok(()),
            Some(long) => {
                let (shown, tokens) = (labels::shown(long), tokens(long));
                let message = format!("the label {shown:?}… has {tokens} tokens; a student weighs {MAX_LABEL_TOKENS}");
                let hint = "shorten the label, or leave the task's label set open";
                Err(TrainError::refused("label_too_long", message, hint))
            }
        }
    }

    /// What a row teaches under the attempt's method.
    pub fn lesson(&mut self, row: &Row) -> Lesson {
        let input = self.question(&row.input);
        let lengths = &self.spec.hyperparameters;
        let (label_length, rationale_length) = (lengths.max_label_length, lengths.max_rationale_length);
        let target = match (self.spec.method, &row.rationale) {
            (Method::RationaleThenLabel, Some(rationale)) => {
                self.encode(&single_target::join(rationale, &row.label), label_length + rationale_length)
            }
            _ => self.encode(&row.label, label_length),
        };
        let rationale = row.rationale.as_ref().filter(|_| self.spec.method == Method::StepByStep);
        let rationale = rationale.map(|rationale| {
            let input = format!("{}{}", self.spec.rationale_prefix, row.input);
            let input = self.encode(&input, lengths.max_input_length);
            Sequence { input, target: self.encode(rationale, rationale_length) }
        });
        Lesson { label: Sequence { input, target }, rationale }
    }

    /// The encoder's input for a row of which the label is wanted.
    pub fn question(&mut self, input: &str) -> Vec<i64> {
        let prefixed = format!("{}{input}", self.spec.label_prefix);
        self.encode(&prefixed, self.spec.hyperparameters.max_input_length)
    }

    /// Tokens that an answer may take: with room for spellings other than the tokenizer's own, and no more, since a
    /// student that has not learned to stop writes until it is stopped.
    pub fn answer_length(&mut self, questions: &[Question]) -> usize {
        let lengths = &self.spec.hyperparameters;
        if self.spec.method == Method::RationaleThenLabel {
            return (lengths.max_label_length + lengths.max_rationale_length) as usize;
        }
        let limit = lengths.max_label_length as usize;
        let longest = questions.iter().map(|question| self.tokenizer.encode(&question.answer, limit).ids.len()).max();
        (2 * longest.unwrap_or(limit) + 4).min(limit)
    }

    fn encode(&mut self, text: &str, max_length: u32) -> Vec<i64> {
        let encoded = self.tokenizer.encode(text, max_length as usize);
        self.truncated += u64::from(encoded.truncated);
        encoded.ids
    }
}
