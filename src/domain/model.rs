//! A registered checkpoint, and where a student comes from.

use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::{JobId, ModelId, ProjectId, TaskDefinition};

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
    /// The job that made it.
    pub job_id: JobId,
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
}

impl StudentSource {
    /// The name that the model is asked for by.
    pub fn name(&self) -> &str {
        match self {
            Self::Directory { name, .. } => name,
            Self::Registered(model) => &model.name,
        }
    }
}
