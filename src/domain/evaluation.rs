//! What an evaluation found.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How one model answered the rows of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelEvaluation {
    /// The model's name.
    pub model: String,
    /// Rows with ground truth.
    pub examples: u64,
    /// Share of rows whose generated label is right, 0..1 (the paper's figure).
    pub accuracy: f64,
    /// Share of rows whose best-scored label is right, 0..1 (what predictions return); null without a label set.
    pub scored_accuracy: Option<f64>,
    /// Seconds from the first row to the last.
    pub seconds: f64,
}

/// The result of an evaluation job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Evaluation {
    /// One entry a model, in the order of the request.
    pub models: Vec<ModelEvaluation>,
    /// Rows of the file that have no ground truth and were left out.
    pub unlabeled_rows: u64,
    /// The accuracy of always answering the commonest label, 0..1.
    pub majority_class_accuracy: f64,
    /// The accuracy of the teacher's stored labels on the same rows, 0..1; null where the file has none.
    pub teacher_accuracy: Option<f64>,
}
