//! Rows as token ids: what the student reads and what it must answer, by method.

use super::TrainError;
use super::data::{Question, Row};
use super::texts::{Part, Texts, room};
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
    /// What serves the label: one sequence, or for `rationale_then_label` one for each rationale.
    pub label: Vec<Sequence>,
    /// One sequence for each rationale that is learned apart.
    pub rationale: Vec<Sequence>,
}

/// One sequence for each of the targets of an input.
fn answers(input: Vec<i64>, targets: Vec<Vec<i64>>) -> Vec<Sequence> {
    targets.into_iter().map(|target| Sequence { input: input.clone(), target }).collect()
}

/// Writes token ids.
pub struct LessonWriter<'a> {
    spec: &'a AttemptSpec,
    tokenizer: &'a StudentTokenizer,
    /// The texts so far: how long they are, and what had to be cut.
    pub texts: Texts,
}

impl<'a> LessonWriter<'a> {
    /// A writer for one attempt.
    pub fn new(spec: &'a AttemptSpec, tokenizer: &'a StudentTokenizer) -> Self {
        Self { spec, tokenizer, texts: Texts::new(&spec.hyperparameters) }
    }

    /// Refuses a label set that the finished student could not choose from.
    pub fn check_labels(&self) -> Result<(), TrainError> {
        let LabelSet::Fixed(labels) = &self.spec.task.label_set else { return Ok(()) };
        let tokens = |label: &String| self.whole(label).len();
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
        let input = self.input(&self.spec.label_prefix, &row.input);
        let rationales = row.rationales.iter();
        let (labels, explanations) = match self.spec.method {
            Method::Standard => (vec![self.encode(Part::Label, &row.label)], Vec::new()),
            Method::StepByStep => {
                let label = self.encode(Part::Label, &row.label);
                (vec![label], rationales.map(|rationale| self.encode(Part::Rationale, rationale)).collect())
            }
            Method::RationaleThenLabel => {
                (rationales.map(|rationale| self.single_target(rationale, &row.label)).collect(), Vec::new())
            }
        };
        let label = answers(input, labels);
        let input =
            if explanations.is_empty() { Vec::new() } else { self.input(&self.spec.rationale_prefix, &row.input) };
        self.texts.end_row();
        Lesson { label, rationale: answers(input, explanations) }
    }

    /// The encoder's input for a row of which the label is wanted.
    pub fn question(&mut self, input: &str) -> Vec<i64> {
        let input = self.input(&self.spec.label_prefix, input);
        self.texts.end_row();
        input
    }

    /// Tokens that an answer may take.
    pub fn answer_length(&self, questions: &[Question]) -> usize {
        if self.spec.method == Method::RationaleThenLabel {
            let served = self.texts.served();
            return (served.label + served.rationale) as usize;
        }
        let limit = self.texts.limits().label;
        let tokens = |question: &Question| self.tokenizer.encode(&question.answer, limit as usize).ids.len();
        let longest = questions.iter().map(tokens).max().and_then(|longest| u32::try_from(longest).ok());
        room(longest.unwrap_or(limit), limit) as usize
    }

    fn input(&mut self, prefix: &str, input: &str) -> Vec<i64> {
        self.encode(Part::Input, &format!("{prefix}{input}"))
    }

    /// Both parts, each cut at its own length: a target that was cut as a whole would lose its label.
    fn single_target(&mut self, rationale: &str, label: &str) -> Vec<i64> {
        let before = self.texts.cut_of_row();
        let mut target = self.encode(Part::Rationale, rationale.trim());
        self.encode(Part::Label, label.trim());
        if self.texts.cut_of_row() == before {
            return self.whole(&single_target::join(rationale, label));
        }
        target.pop();
        let separator = self.whole(single_target::SEPARATOR).len() - 1;
        let ending = separator + self.texts.limits().label as usize;
        target.extend(self.tokenizer.encode(&single_target::ending(label), ending).ids);
        target
    }

    fn encode(&mut self, part: Part, text: &str) -> Vec<i64> {
        let encoded = self.tokenizer.encode(text, self.texts.limit(part) as usize);
        self.texts.take(part, &encoded);
        encoded.ids
    }

    fn whole(&self, text: &str) -> Vec<i64> {
        self.tokenizer.encode(text, usize::MAX).ids
    }
}
