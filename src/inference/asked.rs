//! A request turned into what one student reads: its prefixes, its lengths, its label set.

use super::PredictionRequest;
use crate::domain::{LabelSet, Method, StudentCard};
use crate::student::{Encoded, Student};

/// A question as one student reads it.
pub(super) struct Asked {
    pub input: Encoded,
    /// The input under the rationale's prefix, where a rationale is wanted and was learned apart.
    pub rationale_input: Option<Vec<i64>>,
    /// The labels to choose from.
    pub labels: Option<Vec<String>>,
    /// Whether the student's own words are needed.
    pub generates: bool,
    pub wants_rationale: bool,
}

impl Asked {
    pub fn new(student: &Student, request: &PredictionRequest) -> Self {
        let card = &student.card;
        let length = card.max_input_length as usize;
        let encode = |prefix: &str| student.tokenizer.encode(&format!("{prefix}{}", request.input), length);
        let prefix = card.rationale_prefix.as_deref().filter(|_| request.rationale && learned_apart(card));
        let labels = request.label_set.clone().or_else(|| fixed_labels(card)).filter(|labels| !labels.is_empty());
        Self {
            input: encode(&card.label_prefix),
            rationale_input: prefix.map(|prefix| encode(prefix).ids),
            generates: request.generated_label || labels.is_none() || card.method == Method::RationaleThenLabel,
            labels,
            wants_rationale: request.rationale,
        }
    }

    /// Tokens that are read at once.
    pub fn length(&self) -> usize {
        self.input.ids.len()
    }
}

fn learned_apart(card: &StudentCard) -> bool {
    card.method == Method::StepByStep
}

fn fixed_labels(card: &StudentCard) -> Option<Vec<String>> {
    match &card.task.label_set {
        LabelSet::Fixed(labels) => Some(labels.clone()),
        LabelSet::Open | LabelSet::Choices => None,
    }
}
