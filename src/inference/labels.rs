//! Label sets as a student reads them: encoded once, kept for who asks next, and held to a length.

use std::rc::Rc;
use std::sync::Arc;

use super::{InferenceError, PredictionRequest};
use crate::domain::{LabelSet, StudentCard};
use crate::student::label_tree::{LabelTrees, Wanted};
use crate::student::{Student, scoring::MAX_LABEL_TOKENS};

/// Characters of a label that an error shows.
const SHOWN_CHARS: usize = 80;

/// Sets that are kept, and tokens of all of them together; the newest stays whatever it has.
const MAX_KEPT: usize = 16;
const MAX_KEPT_TOKENS: usize = 100_000;

/// A label set.
#[derive(Debug)]
pub(super) struct Labels {
    /// The labels.
    pub texts: Arc<[String]>,
    /// Tokens of each, in the same order.
    pub lengths: Vec<usize>,
    /// How they are weighed.
    pub trees: LabelTrees,
    /// Whether they are those of the model's own task, in whatever order.
    pub is_own: bool,
}

/// A set, or why it cannot be used.
type Encoded = Result<Rc<Labels>, InferenceError>;

/// A set that was asked for.
struct Kept {
    /// The key of the model that reads it.
    model: String,
    /// None: the set of the model's own task.
    asked: Option<Arc<[String]>>,
    encoded: Encoded,
}

/// The label sets that were asked for last, of any model; most recently used last. A student's own set is asked for again and again,
/// and so are those of clients that send one with each request.
#[derive(Default)]
pub(super) struct LabelSets {
    kept: Vec<Kept>,
}

impl LabelSets {
    /// The labels that a question asks to choose from, else the student's own; none where its own words are wanted.
    pub fn find(
        &mut self,
        (key, student): (&str, &Student),
        asked: Option<&Arc<[String]>>,
    ) -> Result<Option<Rc<Labels>>, InferenceError> {
        let texts = asked.map_or_else(|| own_labels(&student.card), AsRef::as_ref);
        if texts.is_empty() {
            return Ok(None);
        }
        let same = |kept: &Kept| kept.model == key && is_same_list(kept.asked.as_ref(), asked);
        let kept = match self.kept.iter().position(same) {
            Some(place) => self.kept.remove(place),
            None => Kept { model: key.to_owned(), asked: asked.cloned(), encoded: encode(student, texts) },
        };
        let encoded = kept.encoded.clone();
        self.kept.push(kept);
        self.let_go();
        encoded.map(Some)
    }

    fn let_go(&mut self) {
        let tokens = |kept: &Kept| kept.encoded.as_ref().map_or(0, |labels| labels.lengths.iter().sum());
        let mut room = MAX_KEPT_TOKENS;
        let mut stays = 0;
        for kept in self.kept.iter().rev().take(MAX_KEPT) {
            room = room.saturating_sub(tokens(kept));
            stays += usize::from(stays == 0 || room > 0);
        }
        self.kept.drain(..self.kept.len() - stays);
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
    let ids: Vec<Vec<i64>> = texts.iter().enumerate().map(encode).collect::<Result<_, _>>()?;
    let trees = LabelTrees::new(student.config.decoder_start_token_id, &ids, Wanted::Shares);
    let is_own = is_same_set(texts, own_labels(&student.card));
    Ok(Rc::new(Labels { texts: texts.into(), lengths: ids.iter().map(Vec::len).collect(), trees, is_own }))
}

/// A list that is shared is one allocation, and not compared label by label.
fn is_same_list(one: Option<&Arc<[String]>>, other: Option<&Arc<[String]>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
        (None, None) => true,
        _ => false,
    }
}

fn is_same_set(one: &[String], other: &[String]) -> bool {
    let (mut one, mut other): (Vec<&String>, Vec<&String>) = (one.iter().collect(), other.iter().collect());
    one.sort();
    other.sort();
    one == other
}

/// The labels that a request asks to choose from; none: the student's own, if it has any. Choices that an input lists are for a
/// student whose own task is to choose among them.
pub(super) fn asked<'a>(card: &StudentCard, request: &'a PredictionRequest) -> Option<&'a Arc<[String]>> {
    let choices = request.choices.as_ref().filter(|_| card.task.label_set == LabelSet::Choices);
    request.label_set.as_ref().or(choices)
}

/// Whether the answer to a request is chosen from a label set.
pub(super) fn are_there(card: &StudentCard, request: &PredictionRequest) -> bool {
    !asked(card, request).map_or_else(|| own_labels(card), AsRef::as_ref).is_empty()
}

fn own_labels(card: &StudentCard) -> &[String] {
    match &card.task.label_set {
        LabelSet::Fixed(labels) => labels,
        LabelSet::Open | LabelSet::Choices => &[],
    }
}
