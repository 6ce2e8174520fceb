//! The checkpoints of a fine-tuning job, in OpenAI's shape.

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::{figures, find};
use crate::{
    api::{
        ProjectState,
        error::ApiError,
        extract::{Id, Query, from_text},
        list::{List, MAX_LIMIT, page_size},
        openapi::OfOne,
    },
    domain::{Checkpoint, CheckpointId, JobId},
    store::CheckpointOrder,
};

/// Checkpoints of a page when the request does not say; OpenAI's number.
const DEFAULT_LIMIT: u32 = 10;

/// A student as it was at some step, in OpenAI's shape with `best`, `bytes` and `digest`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FineTuningJobCheckpoint)]
#[serde(deny_unknown_fields)]
pub struct FineTuningCheckpoint {
    /// Its id; the cursor.
    id: CheckpointId,
    /// Always `fine_tuning.job.checkpoint`.
    object: FineTuningCheckpointObject,
    /// When it was published, in Unix seconds.
    created_at: i64,
    /// What it is asked for by, wherever a model's name is.
    fine_tuned_model_checkpoint: String,
    /// The job that left it.
    fine_tuning_job_id: JobId,
    /// The job's figures at its step.
    #[schema(value_type = Object)]
    metrics: Map<String, Value>,
    /// The optimizer step after which it was left.
    step_number: i64,
    /// Whether no other checkpoint of the job that is still there has a better accuracy; the later of equals.
    best: bool,
    /// The size of all its files.
    bytes: i64,
    /// `sha256:` and the digest of the list of its files with their digests.
    digest: String,
}

/// The one value of a checkpoint's `object`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub enum FineTuningCheckpointObject {
    /// It is a checkpoint of a fine-tuning job.
    #[serde(rename = "fine_tuning.job.checkpoint")]
    Checkpoint,
}

/// Which checkpoints to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FineTuningCheckpointsQuery {
    /// The last id of the page before.
    #[serde(default, deserialize_with = "from_text")]
    after: Option<CheckpointId>,
    /// Checkpoints of a page, 1 to 1000; default 10.
    #[serde(default, deserialize_with = "from_text")]
    #[param(example = 10)]
    limit: Option<u32>,
}

/// The checkpoints of a fine-tuning job that are still there, newest first. A job leaves them where `checkpoint_every` among its
/// hyperparameters asks for them.
#[utoipa::path(get, path = "/v1/fine_tuning/jobs/{id}/checkpoints", tag = "openai",
    params(("id" = JobId, Path, description = "The job"), FineTuningCheckpointsQuery),
    responses((status = 200, description = "A page of checkpoints", body = List<FineTuningCheckpoint>), OfOne))]
pub async fn list_fine_tuning_checkpoints(
    state: ProjectState,
    id: Id<JobId>,
    Query(query): Query<FineTuningCheckpointsQuery>,
) -> Result<Json<List<FineTuningCheckpoint>>, ApiError> {
    let limit = page_size(query.limit.or(Some(DEFAULT_LIMIT)), MAX_LIMIT)?;
    let job = find(&state, id).await?;
    let page = state.store.list_checkpoints(job.id, CheckpointOrder::NewestFirst(query.after), limit).await?;
    let steps: Vec<i64> = page.items.iter().map(|checkpoint| checkpoint.step).collect();
    let mut figures = state.store.figures_at(job.id, &steps).await?;
    let of = |checkpoint: Checkpoint| {
        let at_step = figures.remove(&checkpoint.step).unwrap_or_default();
        let metrics = figures::named(checkpoint.step, &at_step);
        FineTuningCheckpoint::of(checkpoint, metrics)
    };
    Ok(Json(List::new(page.items.into_iter().map(of).collect(), page.has_more)))
}

impl FineTuningCheckpoint {
    fn of(checkpoint: Checkpoint, mut metrics: Map<String, Value>) -> Self {
        metrics.extend(checkpoint.metrics);
        Self {
            id: checkpoint.id,
            object: FineTuningCheckpointObject::Checkpoint,
            created_at: checkpoint.created_at.timestamp(),
            fine_tuned_model_checkpoint: checkpoint.name,
            fine_tuning_job_id: checkpoint.job_id,
            metrics,
            step_number: checkpoint.step,
            best: checkpoint.best,
            bytes: checkpoint.bytes,
            digest: format!("sha256:{}", checkpoint.manifest_sha256),
        }
    }
}
