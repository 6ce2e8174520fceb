//! What a teacher made of one example.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Example, RationaleFault, Split, UnknownName, unknown_name::by_name};

/// What became of an example.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnnotationStatus {
    /// A label was read from it; a rationale too, where it gave one that is kept.
    Valid,
    /// No label of the set could be read from it.
    Invalid,
    /// The teacher declined, or a filter took its answer.
    Refused,
    /// The answer was cut off at a token limit: before its label, in it, or in the rationale that follows it.
    Truncated,
    /// No answer came.
    #[default]
    Failed,
}

impl AnnotationStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Valid, Self::Invalid, Self::Refused, Self::Truncated, Self::Failed];

    /// The status's name in SQL, JSON and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Refused => "refused",
            Self::Truncated => "truncated",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for AnnotationStatus {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        by_name("annotation status", &Self::ALL, Self::as_str, name)
    }
}

/// The verdict on one example, drawn from all its samples. By default that of an example that got no answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Annotation {
    /// The example's place in its file, from 0.
    pub example_index: i64,
    /// The example's id.
    pub example_id: String,
    /// The example's input.
    pub input: String,
    /// Ground truth, where the file has it.
    pub label: Option<String>,
    /// What the example may be used for; none: anything.
    pub split: Option<Split>,
    /// What became of it.
    pub status: AnnotationStatus,
    /// Why it is not valid.
    pub reason: Option<String>,
    /// The label of most samples; of equally many the one that the earliest sample gave.
    pub teacher_label: Option<String>,
    /// The first rationale that is kept.
    pub rationale: Option<String>,
    /// Further ones, each another; none where there is no first.
    pub more_rationales: Vec<String>,
    /// The text of the first sample that gave the label; of the first sample where none did.
    pub raw_output: Option<String>,
    /// How many samples it was asked for.
    pub samples: i32,
    /// Share of all samples that gave the label; of a valid verdict only.
    pub agreement: Option<f64>,
    /// Whether the label rests on an answer that could be read only after a repair.
    pub repaired: bool,
    /// Whether the rationale was written by a teacher that had been shown the right label.
    pub rationalized: bool,
    /// What is wrong with the first rationale, as far as that is seen in it alone and without ground truth: empty where that
    /// is nothing; none where there is no rationale, or where it was settled before this was looked for.
    pub rationale_faults: Option<Vec<RationaleFault>>,
    /// A number that rationales of the same words have in common.
    pub rationale_fingerprint: Option<i64>,
    /// Tokens of all prompts that were paid for, by the teacher's count.
    pub input_tokens: i64,
    /// Tokens of all answers that were paid for, by the teacher's count.
    pub output_tokens: i64,
    /// From request to answer; of several samples the longest.
    pub latency_ms: i64,
}

impl Annotation {
    /// The verdict on an example of which nothing is known yet: no answer came.
    pub fn unanswered(example_index: i64, example: Example) -> Self {
        let Example { id, input, label, split, .. } = example;
        Self { example_index, example_id: id, input, label, split, samples: 1, ..Self::default() }
    }
}
