//! What a question becomes on its way to an answer, and what the rows that are written for it are called.

use super::answer::Answering;
use super::asked::Asked;
use super::complete::Raw;
use super::engine::Question;
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
}

/// What there is of its answer.
pub(super) enum Writing {
    Answer(Answering),
    Completion(Raw, Vec<i64>),
}

/// What a row writes.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Words,
    Rationale,
}

impl Part {
    /// What the row of a question's part is called.
    pub fn name(self, number: usize) -> usize {
        number * 2 + self as usize
    }

    /// The question's number and the part.
    pub fn of(name: usize) -> (usize, Self) {
        (name / 2, if name.is_multiple_of(2) { Self::Words } else { Self::Rationale })
    }
}

impl Work {
    /// Tokens that it holds at once, which bounds what fits into a batch.
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
            Self::Raw(raw) => usize::from(!raw.is_searched()),
        }
    }
}

impl UnderWay {
    /// Whether nothing may follow these tokens, or nobody wants to know what does.
    pub fn is_enough(&self, student: &Student, part: Part, said: &[i64]) -> bool {
        let enough = match (&self.writing, part) {
            (Writing::Answer(answering), Part::Words) => said.len() >= answering.asked.label_length,
            (Writing::Answer(answering), Part::Rationale) => said.len() >= answering.asked.rationale_length,
            (Writing::Completion(raw, _), _) => raw.is_enough(student, said),
        };
        enough || self.question.answer.is_closed()
    }

    /// Keeps what a row has said.
    pub fn keep(&mut self, student: &Student, part: Part, said: &Generated) {
        match (&mut self.writing, part) {
            (Writing::Answer(answering), Part::Words) => answering.write(student, said),
            (Writing::Answer(answering), Part::Rationale) => answering.explain(student, said),
            (Writing::Completion(_, ids), _) => ids.clone_from(&said.ids),
        }
        self.parts -= 1;
    }
}
