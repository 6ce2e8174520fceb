//! A further name for a model, which can be moved to another one while clients keep asking for the same name.

use chrono::{DateTime, Utc};

use super::{CheckpointId, ModelId};

/// An alias.
#[derive(Debug, Clone, PartialEq)]
pub struct Alias {
    /// What clients ask for; never the name of a registered model.
    pub name: String,
    /// What it points to.
    pub target: AliasTarget,
    /// The name of what it points to.
    pub model: String,
    /// The name of what it pointed to before its last move; none if it never moved.
    pub previous: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last came to mean something else.
    pub moved_at: DateTime<Utc>,
}

/// What an alias points to: by id, so that a name that is given to another model later does not move it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AliasTarget {
    /// A registered model; it cannot be deleted meanwhile.
    Model(ModelId),
    /// A checkpoint of a job; it cannot be removed meanwhile.
    Checkpoint(CheckpointId),
    /// A folder below `models_dir`. Its owner is not this service: it may go at any time, and the alias then leads nowhere.
    Folder(String),
}

/// One move of an alias.
#[derive(Debug, Clone, PartialEq)]
pub struct AliasMove {
    /// The name of what it pointed to before; none when it was made.
    pub from: Option<String>,
    /// The name of what it points to since; none when it was deleted.
    pub to: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}
