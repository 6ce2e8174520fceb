//! A request turned into what one student reads: its prefixes, its lengths, its label set.

use std::rc::Rc;

use super::labels::{self, LabelSets, Labels};
use super::{InferenceError, PredictionRequest};
use crate::domain::{LabelSet, Method, StudentCard};
use crate::student::choice::{Choosing, Scores};
use crate::student::{Encoded, Student};

/// A question as one student reads it.
pub(super) struct Asked {
    pub input: Encoded,
    /// The input under the rationale's prefix, where a rationale is wanted and was learned apart.
    pub rationale_input: Option<Vec<i64>>,
    /// The labels to choose from.
    pub labels: Option<Rc<Labels>>,
    /// What their log-likelihoods are divided by; none where nobody knows.
    pub temperature: Option<f64>,
    /// Whether the student's own words are needed.
    pub generates: bool,
    pub wants_rationale: bool,
    /// What is read below a rationale to tell whether that leads to the same label; none where nobody asks.
    pub consistency_input: Option<String>,
    /// Tokens that may be written for the label; of a single target, for the rationale before it too.
    pub label_length: usize,
    /// Tokens that may be written for a rationale that was learned apart.
    pub rationale_length: usize,
    /// How words and rationale are chosen.
    pub choosing: Choosing,
    /// What is to be known of the scores of its words.
    pub scores: Scores,
}

impl Asked {
    /// The question as the student of this key reads it. Refuses an input that is too long where it is wanted whole, and a label that is too long to be weighed.
    pub fn new(
        (key, student): (&str, &Student),
        request: &PredictionRequest,
        label_sets: &mut LabelSets,
    ) -> Result<Self, InferenceError> {
        let card = &student.card;
        let length = card.max_input_length as usize;
        let encode = |prefix: &str| student.tokenizer.encode(&format!("{prefix}{}", request.input), length);
        let input = encode(&card.label_prefix);
        if input.truncated && request.whole_input {
            let text = format!("{}{}", card.label_prefix, request.input);
            let tokens = student.tokenizer.encode(&text, usize::MAX).ids.len();
            return Err(InferenceError::TooLong { tokens, most: length });
        }
        let limit = |learned: u32| request.max_tokens.unwrap_or(usize::MAX).min(learned as usize).max(1);
        let before_label = if card.method == Method::RationaleThenLabel { card.max_rationale_length } else { 0 };
        let wants_rationale = request.rationale || request.consistency;
        let prefix = card.rationale_prefix.as_deref().filter(|_| wants_rationale && learned_apart(card));
        let choices = request.choices.as_ref().filter(|_| card.task.label_set == LabelSet::Choices);
        let labels = label_sets.find((key, student), labels::asked(card, request))?;
        let is_own = |labels: &Rc<Labels>| {
            labels.is_own || choices.is_some_and(|choices| request.label_set.as_ref().is_none_or(|set| set == choices))
        };
        let calibration = card.calibration.as_ref().filter(|_| labels.as_ref().is_some_and(is_own));
        Ok(Self {
            input,
            rationale_input: prefix.map(|prefix| encode(prefix).ids),
            generates: writes_label(card, request),
            scores: scores(request, labels.is_some()),
            labels,
            temperature: calibration.and_then(|calibration| calibration.temperature),
            wants_rationale,
            consistency_input: request.consistency.then(|| format!("{}{}", card.label_prefix, request.input)),
            label_length: limit(card.max_label_length + before_label),
            rationale_length: limit(card.max_rationale_length),
            choosing: request.sampling.map_or(Choosing::Likeliest, Choosing::Drawn),
        })
    }

    /// Tokens that are read at once.
    pub fn length(&self) -> usize {
        self.input.ids.len()
    }

    /// Rows that are written for it: the student's own words, and a rationale that was learned apart.
    pub fn rows(&self) -> usize {
        usize::from(self.generates) + usize::from(self.rationale_input.is_some())
    }
}

/// Whether the answer to a request is one weighing of a label set, with nothing written beside it: then it is the same however often
/// it is asked for, and whoever wants several answers draws them from one.
pub fn weighs_at_once(card: &StudentCard, request: &PredictionRequest) -> bool {
    !writes_label(card, request) && !request.rationale && !request.consistency
}

/// Whether the student's own words are needed. A student of the single target writes its rationale and its label as one text, and
/// labels can be weighed only behind that.
fn writes_label(card: &StudentCard, request: &PredictionRequest) -> bool {
    request.generated_label || card.method == Method::RationaleThenLabel || !labels::are_there(card, request)
}

/// Beside a set nobody asks how likely the student's own words are as a whole.
fn scores(request: &PredictionRequest, has_labels: bool) -> Scores {
    let of_all = if has_labels { Scores::None } else { Scores::Sum };
    request.logprobs.map_or(of_all, Scores::Each)
}

fn learned_apart(card: &StudentCard) -> bool {
    card.method == Method::StepByStep
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn an_answer_from_a_label_set_alone_is_weighed_at_once() {
        let card = |method, label_set: &LabelSet| {
            let mut card = StudentCard { method, ..StudentCard::default() };
            card.task.label_set = label_set.clone();
            card
        };
        let fixed = LabelSet::Fixed(vec!["yes".to_owned(), "no".to_owned()]);
        let labels: Arc<[String]> = ["yes".to_owned()].into();
        let plain = PredictionRequest::default();
        let named = PredictionRequest { label_set: Some(labels.clone()), ..plain.clone() };
        let listed = PredictionRequest { choices: Some(labels), ..plain.clone() };
        for method in [Method::Standard, Method::StepByStep] {
            assert!(weighs_at_once(&card(method, &fixed), &plain));
            assert!(weighs_at_once(&card(method, &LabelSet::Open), &named));
            assert!(weighs_at_once(&card(method, &LabelSet::Choices), &listed));
            assert!(!weighs_at_once(&card(method, &LabelSet::Choices), &plain));
            assert!(!weighs_at_once(&card(method, &LabelSet::Open), &listed), "nobody asked this student for choices");
            for more in [
                PredictionRequest { rationale: true, ..named.clone() },
                PredictionRequest { consistency: true, ..named.clone() },
                PredictionRequest { generated_label: true, ..named.clone() },
            ] {
                assert!(!weighs_at_once(&card(method, &fixed), &more), "{more:?}");
            }
        }
        assert!(!weighs_at_once(&card(Method::RationaleThenLabel, &fixed), &named));
    }
}
