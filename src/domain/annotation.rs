//! The teacher's answer to one example.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Split, UnknownName, unknown_name::by_name};

/// What became of the teacher's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnnotationStatus {
    /// A label and a rationale were read from it.
    Valid,
    /// No label of the set could be read from it.
    Invalid,
    /// The teacher declined.
    Refused,
    /// The answer ended before its label.
    Truncated,
    /// No answer came.
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

/// One settled answer.
#[derive(Debug, Clone, PartialEq)]
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
    /// What became of the answer.
    pub status: AnnotationStatus,
    /// Why it is not valid.
    pub reason: Option<String>,
    /// The label read from it.
    pub teacher_label: Option<String>,
    /// The rationale read from it.
    pub rationale: Option<String>,
    /// The teacher's text as it came.
    pub raw_output: Option<String>,
    /// Tokens of the prompt, by the teacher's count.
    pub input_tokens: i64,
    /// Tokens of the answer, by the teacher's count.
    pub output_tokens: i64,
    /// From request to answer.
    pub latency_ms: i64,
}
