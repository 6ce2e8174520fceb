//! An evaluation job.

use serde::Deserialize;
use utoipa::ToSchema;

use super::{Metadata, Refusals, Submission, file, file::Strangers, model, submission::parent, task};
use crate::{
    api::{AppState, error::ApiError, shapes::NameOr},
    domain::{EvaluationSpec, FileId, JobId, JobKind, JobSpec, JobState, LabelSource, StudentSource, TaskDefinition},
    store::NewJob,
};

const MAX_MODELS: usize = 16;

/// Score models on the rows of one file.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluationJobRequest {
    /// The rows; only those with ground truth count.
    file: FileId,
    /// Names of models, or ids of distillation jobs, which must succeed first.
    models: Vec<String>,
    /// A task's name or its definition; default: each model's own.
    task: Option<NameOr<TaskDefinition>>,
    /// Only the first so many rows.
    max_examples: Option<u64>,
    /// Higher runs sooner; default 0.
    priority: Option<i32>,
    /// Your own labels: at most 16 texts.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Metadata>,
    /// Jobs that must succeed first.
    depends_on: Option<Vec<JobId>>,
}

/// The job to store, or everything that is wrong with the request.
pub async fn resolve(state: &AppState, request: EvaluationJobRequest) -> Result<NewJob, ApiError> {
    let mut refusals = Refusals::default();
    let submission =
        Submission { priority: request.priority, metadata: request.metadata, depends_on: request.depends_on };
    submission.check(state, &mut refusals).await?;
    let task = request.task.map(|task| task::resolve(state, &mut refusals, Some(task)));
    refusals.require(request.max_examples != Some(0), "#/max_examples", || "max_examples is 0; send 1 or more".into());
    check_file(state, &mut refusals, request.file, task.as_ref()).await?;
    let implied = check_models(state, &mut refusals, &request.models).await?;
    refusals.finish()?;
    let spec = EvaluationSpec { file: request.file, models: request.models, task, max_examples: request.max_examples };
    Ok(submission.into_job(state, JobSpec::Evaluation(spec), implied))
}

async fn check_file(
    state: &AppState,
    refusals: &mut Refusals,
    id: FileId,
    task: Option<&TaskDefinition>,
) -> Result<(), ApiError> {
    let Some(found) = file::usable(state, refusals, "#/file", id).await? else { return Ok(()) };
    if found.validation.labeled_rows == 0 {
        refusals.add("#/file", "missing_labels", format!("no row of {id} has a label to score against"));
    }
    if let Some(task) = task {
        let strangers = Strangers { task, source: LabelSource::GroundTruth };
        file::check_labels(state, refusals, "#/file", &found, &strangers).await?;
    }
    Ok(())
}

/// Every model is there or will be. Returns the jobs that must succeed first.
async fn check_models(state: &AppState, refusals: &mut Refusals, models: &[String]) -> Result<Vec<JobId>, ApiError> {
    refusals.require((1..=MAX_MODELS).contains(&models.len()), "#/models", || {
        format!("{} models; send 1 to {MAX_MODELS}", models.len())
    });
    let mut implied = Vec::new();
    for (index, name) in models.iter().take(MAX_MODELS).enumerate() {
        let pointer = format!("#/models/{index}");
        refusals.require(!models[..index].contains(name), &pointer, || format!("the model {name:?} is there twice"));
        implied.extend(check_model(state, refusals, &pointer, name).await?);
    }
    Ok(implied)
}

async fn check_model(
    state: &AppState,
    refusals: &mut Refusals,
    pointer: &str,
    name: &str,
) -> Result<Option<JobId>, ApiError> {
    if let Some(source) = model::find(state, name).await? {
        if let StudentSource::Directory { path, .. } = source {
            let missing = model::missing_files(&path);
            if !missing.is_empty() {
                let detail = format!("model {name:?} lacks {} in its folder", missing.join(", "));
                refusals.add(pointer, "model_incomplete", detail);
            }
        }
        return Ok(None);
    }
    let Ok(id) = name.parse::<JobId>() else {
        let advice = model::advice(state, name).await?;
        refusals.add(pointer, "model_not_found", format!("there is no model {name:?}{advice}"));
        return Ok(None);
    };
    match parent(state, refusals, pointer, id).await? {
        Some(job) if job.kind() != JobKind::Distillation => {
            refusals.add(pointer, "invalid_value", format!("{id} is an {} job; name a distillation job", job.kind()));
            Ok(None)
        }
        Some(job) if job.state == JobState::Succeeded => {
            refusals.add(pointer, "model_not_found", format!("the model that {id} made was deleted"));
            Ok(None)
        }
        pending => Ok(pending.map(|job| job.id)),
    }
}
