//! One input with what is known of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One line of a training, evaluation or annotation file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Unique in its file.
    pub id: String,
    /// What the student reads, without its task prefix.
    pub input: String,
    /// Ground truth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The teacher's label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher_label: Option<String>,
    /// The reasoning that leads to the label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rationale: Option<String>,
}

impl Example {
    /// The label that a source gives this example.
    pub fn label_from(&self, source: LabelSource) -> Option<&str> {
        match source {
            LabelSource::Teacher => self.teacher_label.as_deref(),
            LabelSource::GroundTruth => self.label.as_deref(),
        }
    }
}

/// Whose label a student learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LabelSource {
    /// `teacher_label`: distillation.
    Teacher,
    /// `label`: fine-tuning.
    GroundTruth,
}

/// How a student learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Two tasks told apart by a prefix: the label and the rationale (the paper's method).
    StepByStep,
    /// The label alone.
    Standard,
    /// One target that holds the rationale and then the label (the paper's single-task ablation).
    RationaleThenLabel,
}

impl Method {
    /// The method's name in JSON and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StepByStep => "step_by_step",
            Self::Standard => "standard",
            Self::RationaleThenLabel => "rationale_then_label",
        }
    }
}
