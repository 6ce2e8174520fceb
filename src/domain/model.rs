//! A registered checkpoint, and where a student comes from.

use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::{Checkpoint, HubCommit, HubId, JobId, Lineage, ModelId, ModelTarget, ProjectId, TaskDefinition};

/// A checkpoint that a distillation published. The row implies complete, verified, immutable files.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Its id.
    pub id: ModelId,
    /// The project it belongs to.
    pub project_id: ProjectId,
    /// The name it is asked for by; unique in its project.
    pub name: String,
    /// What it was trained from: a model's name, or `from_scratch`.
    pub base: String,
    /// The registered model that the base was; none for a folder or from scratch.
    pub base_model_id: Option<ModelId>,
    /// The job that made it.
    pub job_id: JobId,
    /// What it was made of and how; none for a model from before this was kept.
    pub lineage: Option<Lineage>,
    /// The task it learned.
    pub task: TaskDefinition,
    /// Accuracies and the like, by metric name.
    pub metrics: serde_json::Map<String, serde_json::Value>,
    /// The folder of its files in the artifact store.
    pub artifact_prefix: String,
    /// The digest of the manifest there, in hexadecimal.
    pub manifest_sha256: String,
    /// The size of all its files.
    pub bytes: i64,
    /// When it was published.
    pub created_at: DateTime<Utc>,
}

/// Where a model's files are.
#[derive(Debug, Clone, PartialEq)]
pub enum StudentSource {
    /// A folder in Hugging Face's layout below `models_dir`.
    Directory {
        /// The folder's name, which is the model's.
        name: String,
        /// The folder.
        path: PathBuf,
    },
    /// A registered checkpoint in the artifact store.
    Registered(Box<Model>),
    /// A checkpoint that a training left on its way, in the artifact store.
    Checkpoint(Box<Checkpoint>),
    /// A model of the Hugging Face Hub, whole in this machine's cache.
    Hub {
        /// Its id.
        id: HubId,
        /// The id as text, which is the model's name.
        name: String,
        /// What its revision means here.
        commit: HubCommit,
        /// The folder.
        path: PathBuf,
    },
}

impl StudentSource {
    /// The id, where the model is registered.
    pub fn model_id(&self) -> Option<ModelId> {
        match self {
            Self::Directory { .. } | Self::Checkpoint(_) | Self::Hub { .. } => None,
            Self::Registered(model) => Some(model.id),
        }
    }

    /// The Hub's commit that it is, if it is one.
    pub fn commit(&self) -> Option<&HubCommit> {
        match self {
            Self::Directory { .. } | Self::Registered(_) | Self::Checkpoint(_) => None,
            Self::Hub { commit, .. } => Some(commit),
        }
    }

    /// The id as text, where it has one: a name may be given to another model, an id never is.
    pub fn id(&self) -> Option<String> {
        match self {
            Self::Directory { .. } | Self::Hub { .. } => None,
            Self::Registered(model) => Some(model.id.to_string()),
            Self::Checkpoint(checkpoint) => Some(checkpoint.id.to_string()),
        }
    }

    /// What it is, whatever it comes to be called.
    pub fn target(&self) -> ModelTarget {
        match self {
            Self::Directory { name, .. } => ModelTarget::Folder(name.clone()),
            Self::Registered(model) => ModelTarget::Model(model.id),
            Self::Checkpoint(checkpoint) => ModelTarget::Checkpoint(checkpoint.id),
            Self::Hub { id, .. } => ModelTarget::Hub(id.clone()),
        }
    }

    /// The name that the model is asked for by.
    pub fn name(&self) -> &str {
        match self {
            Self::Directory { name, .. } | Self::Hub { name, .. } => name,
            Self::Registered(model) => &model.name,
            Self::Checkpoint(checkpoint) => &checkpoint.name,
        }
    }
}
