//! What a name of a model leads to, in a form that cannot come to mean anything else.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CheckpointId, HubId, ModelId};

/// What a name means: by id, so that nothing changes when the name is given to another model later. Aliases hold it, and jobs
/// that have not ended; neither lets a model or a checkpoint be removed meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelTarget {
    /// A registered model.
    Model(ModelId),
    /// A checkpoint of a job.
    Checkpoint(CheckpointId),
    /// The folder of this name below `models_dir`. Its owner is not this service: it may go at any time, and the name then
    /// leads nowhere.
    Folder(String),
    /// A model of the Hugging Face Hub. What its revision means to a job is kept beside the job, as soon as an attempt knows.
    Hub(HubId),
}
