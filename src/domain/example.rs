//! One input with what is known of it.

use std::str::FromStr;

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
    /// Further ones, each another; none where there is no first.
    #[serde(default, rename = "rationales", skip_serializing_if = "Vec::is_empty")]
    pub more_rationales: Vec<String>,
    /// What it may be used for; none: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
}

impl Example {
    /// Whether it may be used for one of these splits.
    pub fn is_for(&self, splits: &[Split]) -> bool {
        self.split.is_none_or(|own| splits.contains(&own))
    }

    /// Every rationale, the first one first.
    pub fn rationales(&self) -> impl Iterator<Item = &String> {
        self.rationale.iter().chain(&self.more_rationales)
    }

    /// Takes one more rationale, unless it is there already.
    pub fn add_rationale(&mut self, rationale: String) {
        match &self.rationale {
            None => self.rationale = Some(rationale),
            Some(_) if self.rationales().any(|known| *known == rationale) => {}
            Some(_) => self.more_rationales.push(rationale),
        }
    }

    /// The label that a source gives this example.
    pub fn label_from(&self, source: LabelSource) -> Option<&str> {
        match source {
            LabelSource::Teacher => self.teacher_label.as_deref(),
            LabelSource::GroundTruth => self.label.as_deref(),
        }
    }
}

/// What a row is kept for. A training learns `train` rows, chooses its weights by `validation` rows and is judged by
/// `test` rows; an evaluation takes what is not `train`. A row without a split is everybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// To learn from.
    Train,
    /// To choose the weights to keep.
    Validation,
    /// Looked at once, at the end.
    Test,
}

impl Split {
    /// Every split.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];
    /// What an evaluation takes.
    pub const EVALUATED: [Self; 2] = [Self::Validation, Self::Test];

    /// The split's name in files, SQL and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl FromStr for Split {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|split| split.as_str() == name);
        found.ok_or_else(|| format!("unknown split {name:?}; use train, validation or test"))
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
