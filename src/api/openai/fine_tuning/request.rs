//! A fine-tuning job's request: OpenAI's parameters by name, and this service's methods beside OpenAI's.

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::method::MethodKind;
use crate::{
    api::{
        resolve::{
            Metadata,
            distillation::{Prefixes, Student},
        },
        shapes::NameOr,
    },
    domain::{FileId, JobId, LabelSource, RationaleChoice, TaskDefinition},
};

/// Fine-tune a student.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FineTuningJobRequest {
    /// A model's name, an id of the Hugging Face Hub, or `{"from_scratch": {…}}`.
    pub model: NameOr<Student>,
    /// The training rows: the id of an uploaded file, or of an annotation job whose output they are.
    #[schema(value_type = String, example = "file-019ab3c4d5e67f8091a2b3c4d5e6f708")]
    pub training_file: TrainingRows,
    /// The validation rows; default: a tenth of the training rows.
    pub validation_file: Option<FileId>,
    /// How the student is fine-tuned; default: `supervised`.
    pub method: Option<MethodRequest>,
    /// The method's `hyperparameters`, by their older place.
    #[schema(value_type = Option<Object>, example = json!({"n_epochs": "auto"}))]
    pub hyperparameters: Option<Map<String, Value>>,
    /// A word in the finished model's name, at most 64 letters, digits, `-`, `_` or `.`.
    #[schema(example = "desk")]
    pub suffix: Option<String>,
    /// Seed of data order, dropout and initial weights; default 0.
    #[schema(example = 0)]
    pub seed: Option<u64>,
    /// Your own labels: at most 16 texts.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Metadata>,
    /// Not supported: null or empty.
    #[schema(value_type = Option<Vec<Object>>, example = json!([]))]
    pub integrations: Option<Vec<Value>>,
    /// Extension: higher runs sooner; default 0.
    #[schema(example = 0)]
    pub priority: Option<i32>,
    /// Extension: jobs that must succeed first.
    #[schema(example = json!([]))]
    pub depends_on: Option<Vec<JobId>>,
}

/// How a student is to be fine-tuned. Options stand under the member that `type` names.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FineTuningMethodRequest)]
pub struct MethodRequest {
    /// Which method; OpenAI's `dpo` and `reinforcement` are none of this service's.
    #[serde(rename = "type")]
    pub kind: MethodKind,
    /// Options of `supervised`.
    pub supervised: Option<MethodOptions>,
    /// Options of `step_by_step`.
    pub step_by_step: Option<MethodOptions>,
    /// Options of `rationale_then_label`.
    pub rationale_then_label: Option<MethodOptions>,
}

/// Options of a method. All but `hyperparameters` are extensions, and mean what they mean in `/v1/distillation-jobs`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FineTuningMethodOptions)]
pub struct MethodOptions {
    /// OpenAI's `n_epochs`, `batch_size` and `learning_rate_multiplier` (of 5e-5), and every hyperparameter of a distillation
    /// job; `auto` is the same as leaving it out.
    #[schema(value_type = Option<Object>, example = json!({"n_epochs": 3, "batch_size": "auto", "checkpoint_every": 500}))]
    pub hyperparameters: Option<Map<String, Value>>,
    /// Whose labels are learned; default: `ground_truth` with `supervised`, else `teacher`.
    pub label_source: Option<LabelSource>,
    /// A task's name, or its definition; default `text`.
    pub task: Option<NameOr<TaskDefinition>>,
    /// Weight of the label's loss, 0 to 1; default 0.5.
    #[schema(example = 0.5)]
    pub alpha: Option<f64>,
    /// Which rationales are learned.
    pub rationales: Option<RationaleChoice>,
    /// What tells the student which of its tasks is meant.
    pub prefixes: Option<Prefixes>,
    /// The job fails when a larger share of the rows cannot be used, 0 to 1; default 0.2.
    #[schema(example = 0.2)]
    pub max_dropped_ratio: Option<f64>,
    /// Rows that are looked at once, after the training.
    pub test_file: Option<FileId>,
}

/// Where training rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrainingRows {
    /// An uploaded file.
    File(FileId),
    /// The output of an annotation job.
    Annotation(JobId),
}

impl<'de> Deserialize<'de> for TrainingRows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.starts_with(JobId::PREFIX) {
            text.parse().map(Self::Annotation).map_err(de::Error::custom)
        } else {
            text.parse().map(Self::File).map_err(de::Error::custom)
        }
    }
}
