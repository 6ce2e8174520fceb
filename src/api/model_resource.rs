//! A model's form on the wire: OpenAI's model object, with what it was made of.

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{ProjectState, error::ApiError, resolve::model};
use crate::{
    domain::{Checkpoint, HubCommit, JobId, Lineage, Model, ModelId, ModelTarget, StudentSource, TaskDefinition},
    layout, registry,
    store::Relative,
};

/// Children that are shown of a model.
const SHOWN_CHILDREN: u32 = 100;

/// A model as clients see it (OpenAI's model object, with its lineage).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Model)]
#[serde(deny_unknown_fields)]
pub struct ModelResource {
    /// The name it is asked for by.
    #[schema(example = "desk-2")]
    id: String,
    /// Always `model`.
    object: ModelObject,
    /// When it was published, in Unix seconds; for a folder or a model of the Hub, when its configuration was written here.
    #[schema(example = 1_788_000_000)]
    created: i64,
    /// `stepwise` for a registered checkpoint, `models_dir` for a folder, `hub` for a model of the Hugging Face Hub in this
    /// machine's cache.
    #[schema(example = "stepwise")]
    owned_by: String,
    /// The id that stays its own when its name is given to another; null for a folder or a model of the Hub.
    #[schema(required = true, example = "model-0198c0de000070008000000000000001")]
    model_id: Option<ModelId>,
    /// What it was trained from; null for a folder or a model of the Hub.
    #[schema(required = true, example = "from_scratch")]
    base: Option<String>,
    /// The commit of the Hub that its id means here; null for a model of another kind.
    #[schema(required = true, example = json!(null))]
    commit: Option<HubCommit>,
    /// The job that made it; null for a folder or a model of the Hub.
    #[schema(required = true, example = "job-0198c0de000070008000000000000002")]
    job: Option<JobId>,
    /// The task it learned; null where that is not known.
    #[schema(required = true)]
    task: Option<TaskDefinition>,
    /// Accuracies and the like, by metric name.
    #[schema(value_type = Object, example = json!({"validation_accuracy": 0.93}))]
    metrics: Map<String, Value>,
    /// The size of all its files; null for a folder or a model of the Hub.
    #[schema(required = true, example = 4_194_304)]
    bytes: Option<i64>,
    /// `sha256:` and the digest of the list of its files with their digests; null for a folder or a model of the Hub.
    #[schema(required = true, example = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    digest: Option<String>,
    /// What its folder lacks; empty for a model that can be used.
    #[schema(example = json!([]))]
    missing_files: Vec<String>,
    /// The aliases that point to it.
    #[schema(example = json!(["desk-live"]))]
    aliases: Vec<String>,
    /// What it was made of and how; null in lists, and where that is not known.
    #[schema(required = true)]
    lineage: Option<Lineage>,
    /// The registered models that it was trained from, nearest first; null in lists.
    #[schema(required = true)]
    ancestors: Option<Vec<RelativeResource>>,
    /// The newest 100 models that were trained from it; null in lists.
    #[schema(required = true)]
    children: Option<Vec<RelativeResource>>,
}

/// The one value of a model's `object`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelObject {
    /// It is a model.
    Model,
}

/// A model beside another one in its lineage.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelRelative)]
#[serde(deny_unknown_fields)]
pub struct RelativeResource {
    /// Its name while it has or had one.
    #[schema(example = "desk-1")]
    id: String,
    /// Its id.
    #[schema(example = "model-0198c0de000070008000000000000001")]
    model_id: ModelId,
    /// The job that made it.
    #[schema(example = "job-0198c0de000070008000000000000002")]
    job: JobId,
    /// Whether it was deleted.
    #[schema(example = false)]
    deleted: bool,
}

impl ModelResource {
    /// Models without their lineage, as lists have them.
    pub async fn page(state: &ProjectState, sources: Vec<StudentSource>) -> Result<Vec<Self>, ApiError> {
        let targets: Vec<ModelTarget> = sources.iter().map(StudentSource::target).collect();
        let aliases = state.store.aliases_of(state.project, &targets).await?;
        let of = |source: StudentSource| {
            let target = source.target();
            let pointing = aliases.iter().filter(|alias| alias.target == target);
            let aliases = pointing.map(|alias| alias.name.clone()).collect();
            Self { aliases, ..Self::plain(source) }
        };
        Ok(sources.into_iter().map(of).collect())
    }

    /// A model with everything that is known of it.
    pub async fn whole(state: &ProjectState, source: StudentSource) -> Result<Self, ApiError> {
        let relatives = |found: Vec<Relative>| Some(found.into_iter().map(RelativeResource::from).collect());
        let (lineage, ancestors, children) = match &source {
            StudentSource::Registered(found) => (
                found.lineage.clone(),
                relatives(state.store.ancestors(found.id).await?),
                relatives(state.store.children(found.id, SHOWN_CHILDREN).await?),
            ),
            // A folder that was exported here, or copied, still says where it comes from.
            StudentSource::Directory { path, .. } | StudentSource::Hub { path, .. } => {
                let card = registry::card(path).ok();
                (card.as_ref().and_then(registry::lineage), Some(Vec::new()), Some(Vec::new()))
            }
            StudentSource::Checkpoint(found) => {
                (Some(found.lineage.clone()), relatives(line_of(state, &found.lineage).await?), Some(Vec::new()))
            }
        };
        let task = match &source {
            StudentSource::Checkpoint(checkpoint) => model::task_of(state, checkpoint).await?,
            _ => None,
        };
        let plain = Self::page(state, vec![source]).await?.remove(0);
        Ok(Self { task: task.or(plain.task), lineage, ancestors, children, ..plain })
    }

    fn plain(source: StudentSource) -> Self {
        match source {
            StudentSource::Registered(found) => Self::registered(*found),
            StudentSource::Directory { name, path } => Self::folder(name, &path),
            StudentSource::Checkpoint(found) => Self::checkpoint(*found),
            StudentSource::Hub { name, commit, path, .. } => {
                Self { owned_by: "hub".to_owned(), commit: Some(commit), ..Self::folder(name, &path) }
            }
        }
    }

    fn registered(model: Model) -> Self {
        Self {
            id: model.name,
            object: ModelObject::Model,
            created: model.created_at.timestamp(),
            owned_by: "stepwise".to_owned(),
            model_id: Some(model.id),
            base: Some(model.base),
            commit: None,
            job: Some(model.job_id),
            task: Some(model.task),
            metrics: model.metrics,
            bytes: Some(model.bytes),
            digest: Some(format!("sha256:{}", model.manifest_sha256)),
            missing_files: Vec::new(),
            aliases: Vec::new(),
            lineage: None,
            ancestors: None,
            children: None,
        }
    }

    fn checkpoint(checkpoint: Checkpoint) -> Self {
        Self {
            id: checkpoint.name,
            object: ModelObject::Model,
            created: checkpoint.created_at.timestamp(),
            owned_by: "stepwise".to_owned(),
            model_id: None,
            base: Some(checkpoint.lineage.base),
            commit: None,
            job: Some(checkpoint.job_id),
            task: None,
            metrics: checkpoint.metrics,
            bytes: Some(checkpoint.bytes),
            digest: Some(format!("sha256:{}", checkpoint.manifest_sha256)),
            missing_files: Vec::new(),
            aliases: Vec::new(),
            lineage: None,
            ancestors: None,
            children: None,
        }
    }

    fn folder(name: String, path: &Path) -> Self {
        Self {
            id: name,
            object: ModelObject::Model,
            created: model::written_at(path),
            owned_by: "models_dir".to_owned(),
            model_id: None,
            base: None,
            commit: None,
            job: None,
            task: None,
            metrics: Map::new(),
            bytes: None,
            digest: None,
            missing_files: layout::missing_files(path).into_iter().map(str::to_owned).collect(),
            aliases: Vec::new(),
            lineage: None,
            ancestors: None,
            children: None,
        }
    }
}

/// The registered models that a checkpoint's training began with, nearest first.
async fn line_of(state: &ProjectState, lineage: &Lineage) -> Result<Vec<Relative>, ApiError> {
    let Some(base) = lineage.base_model else { return Ok(Vec::new()) };
    let mut line = state.store.relative(base).await?.into_iter().collect::<Vec<_>>();
    line.extend(state.store.ancestors(base).await?);
    Ok(line)
}

impl From<Relative> for RelativeResource {
    fn from(relative: Relative) -> Self {
        Self { id: relative.name, model_id: relative.id, job: relative.job_id, deleted: relative.deleted }
    }
}
