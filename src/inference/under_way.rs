//! What a question becomes on its way to an answer, and what the rows that are written for it are called.

use super::InferenceError;
use super::answer::Answering;
use super::asked::Asked;
use super::batching::Size;
use super::complete::{Follows, Raw};
use super::completion::Completion;
use super::following::Fragment;
use super::growing::{Growing, Grown};
use super::question::Recipient;
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
    pub recipient: Recipient,
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
    /// What it takes of a batch.
    pub fn size(&self) -> Size {
        match self {
            Self::Asked(asked) => Size { held: asked.length(), read: asked.length(), rows: asked.rows() },
            Self::Raw(raw) => {
                let rows = usize::from(raw.search().is_none());
                Size { held: raw.length(), read: raw.as_ref().len(), rows }
            }
        }
    }
}

impl UnderWay {
    /// A question whose rows begin.
    pub fn answer(student: &Student, recipient: Recipient, answering: Answering) -> Self {
        let asked = &answering.asked;
        let (parts, follows, length) = (asked.rows(), recipient.listener.follows(), asked.length());
        // Words beside a set are not the answer, and those of a single target are taken apart when they are whole.
        let is_label = asked.labels.is_none() && student.card.method != Method::RationaleThenLabel;
        let growing = [is_label, true].map(|looked_at| (looked_at && follows).then(Growing::default));
        Self { recipient, writing: Writing::Answer(answering), parts, length, growing }
    }

    /// A prompt whose row begins.
    pub fn completion(student: &Student, recipient: Recipient, raw: Raw) -> Self {
        let follows = if recipient.listener.follows() { Follows::Fragments } else { Follows::Nobody };
        let (length, growing) = (raw.length(), [raw.growing(student, follows), None]);
        Self { recipient, writing: Writing::Prompt(raw), parts: 1, length, growing }
    }

    /// Hears a row's newest token; whether nothing may follow it, or nobody wants to know what does.
    pub fn hear(&mut self, student: &Student, part: Part, said: &Generated) -> bool {
        if self.recipient.is_gone() {
            return true;
        }
        let mut is_stopped = false;
        if let Some(growing) = &mut self.growing[part as usize] {
            growing.hear(&student.tokenizer, said);
            is_stopped = growing.is_stopped();
            if self.recipient.listener.follows() {
                self.recipient.listener.tell(fragment(part, growing.grown()));
            }
        }
        is_stopped || said.ids.len() >= self.most(part)
    }

    /// Tokens of a part: its row begins with room for them, and has said enough with them.
    pub fn most(&self, part: Part) -> usize {
        match (&self.writing, part) {
            (Writing::Answer(answering), Part::Words) => answering.asked.label_length,
            (Writing::Answer(answering), Part::Rationale) => answering.asked.rationale_length,
            (Writing::Prompt(raw), _) => raw.most(),
            (Writing::Completion(_), _) => 0,
        }
    }

    /// Keeps what a row has said in the end, and tells what is left to tell of it.
    pub fn keep(&mut self, student: &Student, part: Part, said: &Generated) {
        self.parts -= 1;
        let growing = self.growing[part as usize].take().filter(|_| self.recipient.listener.follows());
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
            self.recipient.listener.tell(fragment(part, left));
        }
    }
}

fn fragment(part: Part, Grown { text, tokens }: Grown) -> Fragment {
    Fragment { part, text, tokens }
}
