//! What a finished distillation found and left.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AttemptOutcome, FileId};

/// What a finished distillation found and left.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DistillationResult {
    /// The model that it made.
    #[schema(example = "desk")]
    pub model: String,
    /// `step_metrics.csv`: its figures by step, without those that differ from machine to machine. Null in results that are older
    /// than this file.
    #[serde(default)]
    #[schema(required = true)]
    pub metrics_file: Option<FileId>,
    /// What its training found.
    #[serde(flatten)]
    pub outcome: AttemptOutcome,
}
