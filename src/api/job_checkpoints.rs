//! The checkpoints that a distillation has left on its way.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::{
    ProjectState,
    error::ApiError,
    extract::{Id, Query, from_text},
    job_resource::find,
    list::{List, MAX_LIMIT, page_size},
    openapi::OfOne,
};
use crate::{
    domain::{Checkpoint, CheckpointId, JobId},
    store::CheckpointOrder,
};

/// A student as it was at some step of its training.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Checkpoint)]
#[serde(deny_unknown_fields)]
pub struct CheckpointResource {
    /// Its id.
    #[schema(example = "checkpoint-0198c0de000070008000000000000005")]
    id: CheckpointId,
    /// Always `job.checkpoint`.
    object: CheckpointObject,
    /// What it is asked for by, wherever a model's name is: the model's name, or the job's id while it has no model, and the
    /// step.
    #[schema(example = "desk:ckpt-step-200")]
    model: String,
    /// The distillation that left it.
    #[schema(example = "job-0198c0de000070008000000000000002")]
    job: JobId,
    /// The optimizer step after which it was left; the cursor.
    #[schema(example = 200)]
    step: i64,
    /// Whether no other checkpoint of the job that is still there has a better accuracy; the later of equals.
    #[schema(example = true)]
    best: bool,
    /// Figures at that step by metric name: `label_accuracy`, where the student was examined at that step.
    #[schema(value_type = Object, example = json!({"label_accuracy": 0.91}))]
    metrics: Map<String, Value>,
    /// The size of all its files.
    #[schema(example = 4_194_304)]
    bytes: i64,
    /// `sha256:` and the digest of the list of its files with their digests.
    #[schema(example = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    digest: String,
    /// When it was published, in Unix seconds.
    #[schema(example = 1_788_000_000)]
    created_at: i64,
}

/// The one value of a checkpoint's `object`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub enum CheckpointObject {
    /// It is a checkpoint of a job.
    #[serde(rename = "job.checkpoint")]
    Checkpoint,
}

/// Which checkpoints to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CheckpointsQuery {
    /// The last `step` of the page before.
    #[serde(default, deserialize_with = "from_text")]
    #[param(example = 200)]
    after: Option<i64>,
    /// Checkpoints of a page, 1 to 1000; default 20.
    #[serde(default, deserialize_with = "from_text")]
    #[param(example = 20)]
    limit: Option<u32>,
}

/// The checkpoints that a distillation has left so far and that are still there, by step. It leaves them where
/// `checkpoint_every` asks for them; each can be asked, evaluated, exported, and be a student, by its name.
#[utoipa::path(get, path = "/v1/jobs/{id}/checkpoints", tag = "jobs",
    params(("id" = JobId, Path, description = "The job", example = "job-0198c0de000070008000000000000002"), CheckpointsQuery),
    responses((status = 200, description = "A page of checkpoints", body = List<CheckpointResource>), OfOne))]
pub async fn list_job_checkpoints(
    state: ProjectState,
    id: Id<JobId>,
    Query(query): Query<CheckpointsQuery>,
) -> Result<axum::Json<List<CheckpointResource>>, ApiError> {
    let limit = page_size(query.limit, MAX_LIMIT)?;
    let job = find(&state, id).await?;
    let page = state.store.list_checkpoints(job.id, CheckpointOrder::ByStep(query.after), limit).await?;
    Ok(axum::Json(List::new(page.items.into_iter().map(CheckpointResource::from).collect(), page.has_more)))
}

impl From<Checkpoint> for CheckpointResource {
    fn from(checkpoint: Checkpoint) -> Self {
        Self {
            id: checkpoint.id,
            object: CheckpointObject::Checkpoint,
            model: checkpoint.name,
            job: checkpoint.job_id,
            step: checkpoint.step,
            best: checkpoint.best,
            metrics: checkpoint.metrics,
            bytes: checkpoint.bytes,
            digest: format!("sha256:{}", checkpoint.manifest_sha256),
            created_at: checkpoint.created_at.timestamp(),
        }
    }
}
