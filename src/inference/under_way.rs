//! What a question becomes on its way to an answer, and what the rows that are written for it are called.

use super::InferenceError;
use super::answer::Answering;
use super::asked::Asked;
use super::complete::{Follows, Raw};
use super::completion::Completion;
use super::engine::Question;
use super::following::Fragment;
use super::growing::{Growing, Grown};
use crate::domain::Method;
use crate::student::Student;
use crate::student::generation::Generated;

/// What a question has become.
pub(super) enum Work {
    Asked(Asked),
    Raw(Raw),
}

/// A question that something is being written for.
pub(super) struct UnderWay {
    pub question: Question,
    pub writing: Writing,
    /// Rows that have not ended.
    pub parts: usize,
    /// Tokens that it holds.
    pub length: usize,
    /// The texts of its parts, where somebody looks at them before their ends.
    growing: [Option<Growing>; 2],
}

/// What there is of its answer.
pub(super) enum Writing {
    Answer(Answering),
    Prompt(Raw),
    Completion(Result<Completion, InferenceError>),
}

/// A part of an answer, which a row writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The answer itself: a completion, or a label in the student's own words.
    Words,
    /// A rationale that was learned apart.
    Rationale,
}

impl Part {
    /// What the row of a question's part is called.
    pub(super) fn name(self, number: usize) -> usize {
        number * 2 + self as usize
    }

    /// The question's number and the part.
    pub(super) fn of(name: usize) -> (usize, Self) {
        (name / 2, if name.is_multiple_of(2) { Self::Words } else { Self::Rationale })
    }
}

impl Work {
    /// Tokens that it holds, which bounds what fits into a batch.
    pub fn length(&self) -> usize {
        match self {
            Self::Asked(asked) => asked.length(),
            Self::Raw(raw) => raw.length(),
        }
    }

    /// Rows that are written for it, side by side with those of others.
    pub fn rows(&self) -> usize {
        match self {
            Self::Asked(asked) => usize::from(asked.generates) + usize::from(asked.rationale_input.is_some()),
            Self::Raw(raw) => usize::from(raw.search().is_none()),
        }
    }
}

impl UnderWay {
    /// A question whose rows begin.
    pub fn answer(student: &Student, question: Question, answering: Answering) -> Self {
        let asked = &answering.asked;
        let parts = usize::from(asked.generates) + usize::from(asked.rationale_input.is_some());
        let (follows, length) = (question.answer.follows(), asked.length());
        // Words beside a set are not the answer, and those of a single target are taken apart when they are whole.
        let is_label = asked.labels.is_none() && student.card.method != Method::RationaleThenLabel;
        let growing = [is_label, true].map(|looked_at| (looked_at && follows).then(Growing::default));
        Self { question, writing: Writing::Answer(answering), parts, length, growing }
    }

    /// A prompt whose row begins.
    pub fn completion(student: &Student, question: Question, raw: Raw) -> Self {
        let follows = if question.answer.follows() { Follows::Fragments } else { Follows::Nobody };
        let (length, growing) = (raw.length(), [raw.growing(student, follows), None]);
        Self { question, writing: Writing::Prompt(raw), parts: 1, length, growing }
    }

    /// Hears a row's newest token; whether nothing may follow it, or nobody wants to know what does.
    pub fn hear(&mut self, student: &Student, part: Part, said: &Generated) -> bool {
        if self.question.answer.is_closed() {
            return true;
        }
        let mut is_stopped = false;
        if let Some(growing) = &mut self.growing[part as usize] {
            growing.hear(&student.tokenizer, said);
            is_stopped = growing.is_stopped();
            if self.question.answer.follows() {
                self.question.answer.tell(fragment(part, growing.grown()));
            }
        }
        is_stopped || self.is_full(part, &said.ids)
    }

    fn is_full(&self, part: Part, said: &[i64]) -> bool {
        match (&self.writing, part) {
            (Writing::Answer(answering), Part::Words) => said.len() >= answering.asked.label_length,
            (Writing::Answer(answering), Part::Rationale) => said.len() >= answering.asked.rationale_length,
            (Writing::Prompt(raw), _) => raw.is_full(said),
            (Writing::Completion(_), _) => true,
        }
    }

    /// Keeps what a row has said in the end, and tells what is left to tell of it.
    pub fn keep(&mut self, student: &Student, part: Part, said: &Generated) {
        self.parts -= 1;
        let growing = self.growing[part as usize].take().filter(|_| self.question.answer.follows());
        let left = match &mut self.writing {
            Writing::Prompt(raw) => {
                let completion = raw.completion(student, said);
                let whole = growing.zip(completion.as_ref().ok());
                let left = whole.map(|(growing, whole)| growing.rest(&whole.text, &whole.tokens));
                self.writing = Writing::Completion(completion);
                left
            }
            Writing::Answer(answering) => {
                match part {
                    Part::Words => answering.write(student, said),
                    Part::Rationale => answering.explain(student, said),
                }
                growing.map(|growing| growing.rest_of(student, said))
            }
            Writing::Completion(_) => None,
        };
        if let Some(left) = left {
            self.question.answer.tell(fragment(part, left));
        }
    }
}

fn fragment(part: Part, Grown { text, tokens }: Grown) -> Fragment {
    Fragment { part, text, tokens }
}
