//! The service as one project has it. Whatever reads or writes a project's rows is given this and not the bare state, so that a
//! handler cannot forget whose rows are meant: the compiler asks for them.

use axum::{extract::FromRequestParts, http::request::Parts};

use super::{AppState, error::ApiError, gate::Caller};
use crate::domain::ProjectId;

/// The state, and whose rows are meant. Other projects' rows are not there.
#[derive(Clone)]
pub struct ProjectState {
    state: AppState,
    /// Whose rows are meant.
    pub project: ProjectId,
}

impl ProjectState {
    /// The service as this project has it.
    pub fn new(state: AppState, project: ProjectId) -> Self {
        Self { state, project }
    }
}

impl std::ops::Deref for ProjectState {
    type Target = AppState;

    fn deref(&self) -> &AppState {
        &self.state
    }
}

impl FromRequestParts<AppState> for ProjectState {
    type Rejection = ApiError;

    /// The project of the request's key, which the gate has put beside it.
    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Caller>();
        let caller =
            caller.ok_or_else(|| ApiError::Internal("a route without a scope asks for a project's rows".into()))?;
        Ok(Self::new(state.clone(), caller.project))
    }
}
