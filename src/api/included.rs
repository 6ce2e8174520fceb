//! What a request wants beside the label.

use super::{extract::nearest, resolve::Refusals};

const INCLUDES: [&str; 4] = ["rationale", "confidence", "label_probs", "consistency"];

/// What is wanted beside the label.
#[derive(Debug, Clone, Copy)]
pub struct Included {
    /// The rationale.
    pub rationale: bool,
    /// The confidence.
    pub confidence: bool,
    /// Each label's probability.
    pub label_probs: bool,
    /// Whether the rationale leads to the same label.
    pub consistency: bool,
    /// The confidence below which no label is wanted.
    pub abstain_below: Option<f64>,
}

impl Included {
    /// What a request's `include` and `abstain_below` ask for; what cannot be had and what is no confidence is refused.
    pub fn check(refusals: &mut Refusals, include: Option<&[String]>, abstain_below: Option<f64>) -> Self {
        let include = include.unwrap_or_default();
        for (index, name) in include.iter().enumerate() {
            refusals.require(INCLUDES.contains(&name.as_str()), &format!("#/include/{index}"), || {
                format!("{name:?} cannot be included{}", nearest(name, INCLUDES))
            });
        }
        if let Some(least) = abstain_below {
            refusals.require((0.0..=1.0).contains(&least), "#/abstain_below", || {
                format!("abstain_below is {least}; send 0 to 1")
            });
        }
        let includes = |name: &str| include.iter().any(|included| included == name);
        Self {
            rationale: includes("rationale"),
            confidence: includes("confidence"),
            label_probs: includes("label_probs"),
            consistency: includes("consistency"),
            abstain_below,
        }
    }

    /// Whether the student is to abstain from an answer of this confidence.
    pub fn abstains(&self, confidence: f64) -> bool {
        self.abstain_below.is_some_and(|least| confidence < least)
    }
}
