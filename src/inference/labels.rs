//! Label sets as one student reads them: encoded once for all questions that share one, and held to a length.

use std::rc::Rc;
use std::sync::Arc;

use super::InferenceError;
use crate::domain::{LabelSet, StudentCard};
use crate::student::{Student, scoring::MAX_LABEL_TOKENS};

/// Characters of a label that an error shows.
const SHOWN_CHARS: usize = 80;

/// A label set.
#[derive(Debug, Clone)]
pub(super) struct Labels {
    /// The labels.
    pub texts: Arc<[String]>,
    /// Their tokens, in the same order.
    pub ids: Rc<[Vec<i64>]>,
}

impl Labels {
    /// Tokens of a label of the set.
    pub fn length(&self, label: &str) -> usize {
        let place = self.texts.iter().position(|text| text == label);
        place.map_or(0, |place| self.ids[place].len())
    }
}

/// A set's tokens, or why it cannot be used.
type Encoded = Result<Rc<[Vec<i64>]>, InferenceError>;

/// The label sets of the questions that are prepared together.
pub(super) struct LabelSets<'a> {
    student: &'a Student,
    /// The fixed set of the student's own task.
    own: Option<Arc<[String]>>,
    known: Vec<(Arc<[String]>, Encoded)>,
}

impl<'a> LabelSets<'a> {
    /// None yet.
    pub fn new(student: &'a Student) -> Self {
        Self { student, own: fixed_labels(&student.card), known: Vec::new() }
    }

    /// The labels that a question asks to choose from, else the student's own; none where its own words are wanted.
    pub fn read(&mut self, asked: Option<&Arc<[String]>>) -> Result<Option<Labels>, InferenceError> {
        let Some(texts) = asked.or(self.own.as_ref()).filter(|labels| !labels.is_empty()) else { return Ok(None) };
        let texts = Arc::clone(texts);
        let place = self.known.iter().position(|(known, _)| Arc::ptr_eq(known, &texts)).unwrap_or_else(|| {
            self.known.push((Arc::clone(&texts), encode(self.student, &texts)));
            self.known.len() - 1
        });
        let ids = self.known[place].1.clone()?;
        Ok(Some(Labels { texts, ids }))
    }
}

fn encode(student: &Student, texts: &[String]) -> Encoded {
    let encode = |(index, text): (usize, &String)| {
        let ids = student.tokenizer.encode(text, usize::MAX).ids;
        if ids.len() > MAX_LABEL_TOKENS {
            let label = text.chars().take(SHOWN_CHARS).collect();
            return Err(InferenceError::LabelTooLong { index, label, tokens: ids.len(), most: MAX_LABEL_TOKENS });
        }
        Ok(ids)
    };
    texts.iter().enumerate().map(encode).collect()
}

fn fixed_labels(card: &StudentCard) -> Option<Arc<[String]>> {
    match &card.task.label_set {
        LabelSet::Fixed(labels) => Some(labels.as_slice().into()),
        LabelSet::Open | LabelSet::Choices => None,
    }
}
