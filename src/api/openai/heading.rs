//! What every answer and every chunk of it begins with.

use crate::api::{ProjectState, asked_model::AskedModel};

/// Who answered, and when.
#[derive(Debug, Clone)]
pub struct Heading {
    /// Names the answer.
    pub id: String,
    /// When it began, in Unix seconds.
    pub created: i64,
    /// The model's own name.
    pub model: String,
    /// Changes whenever the model's files do.
    pub system_fingerprint: String,
}

impl Heading {
    /// The heading of a new answer, whose id begins like this.
    pub fn new(state: &ProjectState, prefix: &str, model: &AskedModel) -> Self {
        Self {
            id: format!("{prefix}-{}", state.clock.new_id().simple()),
            created: state.clock.now().timestamp(),
            model: model.name.clone(),
            system_fingerprint: model.fingerprint(),
        }
    }
}
