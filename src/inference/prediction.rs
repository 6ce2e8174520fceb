//! What is asked of a model and what it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::spelling::ScoredToken;
use crate::student::drawing::Sampling;

/// One input and what is wanted for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PredictionRequest {
    /// The input, without any prefix.
    pub input: String,
    /// The labels to choose from, shared by all inputs that have the same; none: the set of the model's own task, if it has
    /// one.
    pub label_set: Option<Arc<[String]>>,
    /// The choices that the input lists, for a model whose own task is to choose among them.
    pub choices: Option<Arc<[String]>>,
    /// Whether a rationale is wanted; a student that never learned one apart gives none.
    pub rationale: bool,
    /// Whether it is to be told if the rationale leads the student to the same label; it writes one for that.
    pub consistency: bool,
    /// Whether the label in the student's own words is wanted as well, where one is chosen from a set.
    pub generated_label: bool,
    /// Tokens that it may write for the label and for the rationale, each; none: as many as it has learned.
    pub max_tokens: Option<usize>,
    /// Whether an input that is longer than the student reads is refused, and not cut.
    pub whole_input: bool,
    /// How the student's own words and its rationale are drawn; none: the likeliest next token each time. A label of a set is not
    /// drawn here (see [`draw`](Prediction::draw)).
    pub sampling: Option<Sampling>,
    /// How many of the likeliest tokens are wanted beside the log-probability of each token of the student's own words; none: not
    /// even that.
    pub logprobs: Option<usize>,
}

/// A student's answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prediction {
    /// The best-scored label of the set; without a set, the student's own words.
    pub label: String,
    /// The student's own words (greedy), where they were asked for or had to be made.
    pub generated_label: Option<String>,
    /// The label's probability, 0 to 1: among the set's labels, or of the generated words among all words.
    pub confidence: f64,
    /// Whether the probabilities are fitted to how often the student is right. They are for the label set of its own task,
    /// however it was asked for, if its training could fit them; for another set, or for words of its own, nobody knows how.
    pub calibrated: bool,
    /// Each label's probability, summing to 1; none without a set.
    pub label_probs: Option<BTreeMap<String, f64>>,
    /// The reasoning. For a step-by-step student it is a second task, not the cause of the label.
    pub rationale: Option<String>,
    /// Whether the label that is scored best for the input with the rationale below it is the same. The student never saw such
    /// an input while it learned. None where it was not asked for, without a label set, without a rationale, and where both are
    /// longer than the student reads.
    pub consistency: Option<bool>,
    /// Tokens read for the label, prefix and end token included.
    pub input_tokens: u64,
    /// Tokens written: those of the label, end token included, and of the rationale.
    pub output_tokens: u64,
    /// Tokens of the label, whether written or chosen from a set, and of the rationale, end tokens included.
    pub answer_tokens: u64,
    /// Whether what was written came to its end before its limit.
    pub complete: bool,
    /// Whether the input was longer than the student reads.
    pub truncated: bool,
    /// The tokens of the student's own words, where they are wanted.
    pub tokens: Vec<ScoredToken>,
}
