//! Where a checkpoint comes from: its base, its data with digests, and how it learned. Written into `stepwise.json`
//! beside the weights, so that a copied folder still knows.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{FileId, HubCommit, Hyperparameters, JobId, LabelSource, Method, ModelId, RationaleChoice};

/// What a student was made of and how. Unknown members are left alone: a later program may have written more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Lineage {
    /// What it was trained from: a model's name, on the Hugging Face Hub `owner/name`, or `from_scratch`.
    #[schema(example = "mini-t5")]
    pub base: String,
    /// The registered model that the base was; null for a folder or a student from scratch.
    #[serde(default)]
    #[schema(required = true, example = "model-0198c0de000070008000000000000001")]
    pub base_model: Option<ModelId>,
    /// The commit of the Hub that the base was; null for a base of another kind.
    #[serde(default)]
    #[schema(required = true, example = json!(null))]
    pub base_commit: Option<HubCommit>,
    /// The distillation that made it.
    #[schema(example = "job-0198c0de000070008000000000000002")]
    pub job: JobId,
    /// How it learned.
    #[schema(example = "step_by_step")]
    pub method: Method,
    /// Whose labels it learned.
    #[schema(example = "teacher")]
    pub label_source: LabelSource,
    /// Weight of the label's loss; the rationale's is `1 - alpha`.
    #[schema(example = 0.5)]
    pub alpha: f64,
    /// Which rationales it learned.
    #[serde(default)]
    #[schema(required = true)]
    pub rationales: RationaleChoice,
    /// The knobs of its training, the seed among them, as the job has them.
    pub hyperparameters: Hyperparameters,
    /// The seed that it learned under; null where the hyperparameters have the only one.
    #[serde(default)]
    #[schema(required = true, example = 2)]
    pub seed: Option<u64>,
    /// The step after which it was kept; null for a finished student, which has the best step's weights.
    #[serde(default)]
    #[schema(required = true, example = json!(null))]
    pub step: Option<i64>,
    /// The files that it learned from.
    pub training: Vec<DataSource>,
    /// The file that the best step was chosen by; null where a share of the training rows was held back for it.
    #[serde(default)]
    #[schema(required = true)]
    pub validation: Option<DataSource>,
    /// The share of the training rows that was held back for validation; null where a file was given.
    #[serde(default)]
    #[schema(required = true, example = 0.1)]
    pub validation_fraction: Option<f64>,
    /// The file that it was tested on at the end; null where there was none.
    #[serde(default)]
    #[schema(required = true)]
    pub test: Option<DataSource>,
}

/// A file of rows as a training read it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DataSource {
    /// The file; it may have been deleted since.
    #[schema(example = "file-0198c0de000070008000000000000003")]
    pub file: FileId,
    /// The name it was uploaded or written under.
    #[schema(example = "annotations.jsonl")]
    pub filename: String,
    /// `sha256:` and the digest of its bytes in hexadecimal.
    #[schema(example = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    pub digest: String,
    /// All its rows; a training leaves out those of another split and those that it cannot learn from.
    #[schema(example = 2480)]
    pub rows: u64,
    /// The annotation job that wrote it; null for an upload.
    #[serde(default)]
    #[schema(required = true, example = "job-0198c0de000070008000000000000004")]
    pub annotation_job: Option<JobId>,
    /// The teacher of that job, by its name in the configuration; null for an upload.
    #[serde(default)]
    #[schema(required = true, example = "gpt")]
    pub teacher: Option<String>,
}
