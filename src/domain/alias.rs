//! A further name for a model, which can be moved to another one while clients keep asking for the same name.

use chrono::{DateTime, Utc};

use super::ModelTarget;

/// An alias.
#[derive(Debug, Clone, PartialEq)]
pub struct Alias {
    /// What clients ask for; never the name of a registered model.
    pub name: String,
    /// What it points to.
    pub target: ModelTarget,
    /// The name of what it points to.
    pub model: String,
    /// The name of what it pointed to before its last move; none if it never moved.
    pub previous: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last came to mean something else.
    pub moved_at: DateTime<Utc>,
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
