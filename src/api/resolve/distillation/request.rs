//! What a client sends to have a student trained.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    api::{
        resolve::Metadata,
        shapes::{NameOr, OneOrMany},
    },
    domain::{FileId, FromScratch, Hyperparameters, JobId, LabelSource, Method, RationaleChoice, TaskDefinition},
};

/// Train a student.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DistillationJobRequest {
    /// Where the training rows come from: one source, or a list.
    pub training: OneOrMany<Training>,
    /// Where the validation rows come from; default: a tenth of the training rows.
    pub validation: Option<ValidationRows>,
    /// Rows that are looked at once for each seed, after that seed's training. They decide nothing.
    pub test: Option<TestRows>,
    /// A model's name, an id of the Hugging Face Hub (`owner/name` or `owner/name@revision`), or `{"from_scratch": {…}}`.
    pub student: NameOr<Student>,
    /// A task's name, or its definition; default `text`.
    pub task: Option<NameOr<TaskDefinition>>,
    /// How it is learned; default `step_by_step`.
    pub method: Option<Method>,
    /// Whose labels are learned; default `teacher`.
    pub label_source: Option<LabelSource>,
    /// Weight of the label's loss, 0 to 1; the rationale's is `1 - alpha`; default 0.5.
    pub alpha: Option<f64>,
    /// Which rationales are learned; default: the first of each row, as it stands.
    pub rationales: Option<RationaleChoice>,
    /// What tells the student which of its tasks is meant.
    pub prefixes: Option<Prefixes>,
    /// The knobs of training.
    pub hyperparameters: Option<Hyperparameters>,
    /// The name that the finished model gets; default: made from the student, method and job.
    pub model_name: Option<String>,
    /// The job fails when a larger share of the rows cannot be used, 0 to 1; default 0.2.
    pub max_dropped_ratio: Option<f64>,
    /// Higher runs sooner; default 0.
    pub priority: Option<i32>,
    /// Your own labels: at most 16 texts.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Metadata>,
    /// Jobs that must succeed first.
    pub depends_on: Option<Vec<JobId>>,
}

/// A source of training rows: exactly one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// An uploaded file.
    pub file: Option<FileId>,
    /// An annotation job; if it is not over, the distillation waits for it.
    pub annotation_job: Option<JobId>,
}

/// A source of validation rows: a file, or a share of the training rows.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidationRows {
    /// An uploaded file.
    pub file: Option<FileId>,
    /// Share of the training rows, from 0 to less than 1; default 0.1. All rows of one input are held back, or none.
    pub fraction: Option<f64>,
    /// Seed of the choice; default 0.
    pub seed: Option<u64>,
}

/// A source of test rows.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestRows {
    /// An uploaded file.
    pub file: FileId,
}

/// A student that is not there yet.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Student {
    /// A new T5 with a tokenizer trained on the training rows.
    pub from_scratch: FromScratch,
}

/// What stands before an input, for each of the student's tasks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Prefixes {
    /// A label is wanted.
    pub label: String,
    /// A rationale is wanted.
    pub rationale: String,
}

impl Default for Prefixes {
    /// The research code's.
    fn default() -> Self {
        Self { label: "predict: ".to_owned(), rationale: "explain: ".to_owned() }
    }
}
