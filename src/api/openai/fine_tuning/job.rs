//! A distillation as OpenAI's fine-tuning job. Every key is always there; null where there is nothing to say.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use chrono::DateTime;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    method::{FineTuningHyperparameters, FineTuningMethod},
    missing, spec,
};
use crate::{
    api::{
        ProjectState,
        error::ApiError,
        job_form::JobForm,
        job_resource::{ProgressResource, estimated_finish, progress},
    },
    domain::{DistillationSpec, FileId, Job, JobError, JobId, JobState, ProjectId, TrainingSource, Validating},
};

/// A distillation as OpenAI's clients see it, with `terminal` and `progress`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FineTuningJob)]
#[serde(deny_unknown_fields)]
pub struct FineTuningJobResource {
    /// Its id, the same as at `/v1/jobs`.
    id: JobId,
    /// Always `fine_tuning.job`.
    object: FineTuningJobObject,
    /// When it was submitted, in Unix seconds.
    created_at: i64,
    /// When it became terminal, in Unix seconds.
    #[schema(required = true)]
    finished_at: Option<i64>,
    /// When a running job will be done at its pace, in Unix seconds; null while that cannot be told.
    #[schema(required = true)]
    estimated_finish: Option<i64>,
    /// The student; `from_scratch` for a new one.
    model: String,
    /// The model that it made; null until it has succeeded.
    #[schema(required = true)]
    fine_tuned_model: Option<String>,
    /// The project that it belongs to.
    organization_id: ProjectId,
    /// Where it stands. `paused` is not among OpenAI's own words.
    status: JobState,
    /// Where its rows come from: a file, or an annotation job; of several sources the first.
    training_file: String,
    /// Its validation rows; null where they are a share of the training rows.
    #[schema(required = true)]
    validation_file: Option<FileId>,
    /// Its figures by step, `step_metrics.csv`, once it has succeeded.
    result_files: Vec<FileId>,
    /// OpenAI's knobs.
    hyperparameters: FineTuningHyperparameters,
    /// How the student is fine-tuned.
    method: FineTuningMethod,
    /// The seed.
    seed: u64,
    /// Input and target tokens that it was trained on, repetitions included and padding left out; null until it has succeeded.
    #[schema(required = true)]
    trained_tokens: Option<u64>,
    /// Always empty.
    #[schema(value_type = Vec<Object>)]
    integrations: Vec<Value>,
    /// The user's own labels.
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    /// Why it failed; null where it has not.
    #[schema(required = true)]
    error: Option<FineTuningError>,
    /// Whether it is over: poll until this is true.
    terminal: bool,
    /// How far it is, once it has said so.
    #[schema(required = true)]
    progress: Option<ProgressResource>,
}

/// The one value of a fine-tuning job's `object`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub enum FineTuningJobObject {
    /// It is a fine-tuning job.
    #[serde(rename = "fine_tuning.job")]
    Job,
}

/// Why a fine-tuning failed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FineTuningError {
    /// A stable name to branch on.
    code: String,
    /// What happened, and what would help.
    message: String,
    /// Always null: what a parameter can be blamed for is refused when the job is submitted.
    #[schema(required = true, value_type = Option<String>)]
    param: Option<()>,
}

impl FineTuningJobResource {
    /// A distillation; none for a job of another kind.
    pub fn of(job: Job) -> Option<Self> {
        let spec = spec(&job)?.clone();
        let succeeded = job.state == JobState::Succeeded;
        let found = |name: &str| job.result.as_ref().filter(|_| succeeded)?.get(name);
        Some(Self {
            id: job.id,
            object: FineTuningJobObject::Job,
            created_at: job.created_at.timestamp(),
            finished_at: job.finished_at.as_ref().map(DateTime::timestamp),
            estimated_finish: estimated_finish(&job),
            model: spec.student.name().to_owned(),
            fine_tuned_model: found("model").and_then(Value::as_str).map(str::to_owned),
            organization_id: job.project_id,
            status: job.state,
            training_file: source(&spec),
            validation_file: if let Validating::File(file) = spec.validation { Some(file) } else { None },
            result_files: found("metrics_file")
                .and_then(Value::as_str)
                .and_then(|id| id.parse().ok())
                .into_iter()
                .collect(),
            hyperparameters: FineTuningHyperparameters::of(&spec.hyperparameters),
            method: FineTuningMethod::of(&spec),
            seed: spec.hyperparameters.seed,
            trained_tokens: found("tokens").and_then(Value::as_u64),
            integrations: Vec::new(),
            error: error(&job),
            terminal: job.state.is_terminal(),
            progress: progress(&job),
            metadata: job.metadata,
        })
    }
}

/// The form of `/v1/fine_tuning/jobs`: 200 in every case, as OpenAI's clients expect.
pub struct FineTuning;

impl JobForm for FineTuning {
    async fn shown(_: &ProjectState, job: Job) -> Result<Response, ApiError> {
        let id = job.id;
        Ok(Json(FineTuningJobResource::of(job).ok_or_else(|| missing(id))?).into_response())
    }

    async fn created(state: &ProjectState, job: Job) -> Result<Response, ApiError> {
        Self::shown(state, job).await
    }
}

fn source(spec: &DistillationSpec) -> String {
    match spec.training.first() {
        Some(TrainingSource::File(file)) => file.to_string(),
        Some(TrainingSource::AnnotationJob(job)) => job.to_string(),
        None => String::new(),
    }
}

/// A job that will be tried again has its last attempt's error; a client would take that for the end.
fn error(job: &Job) -> Option<FineTuningError> {
    let JobError { code, message, hint } = job.error.clone().filter(|_| job.state == JobState::Failed)?;
    let advice = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    Some(FineTuningError { code, message: message + &advice, param: None })
}
