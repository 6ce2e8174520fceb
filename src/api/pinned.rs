//! Pinned models: in memory and warm before the process says that it is ready, and never put away. Names may be aliases: when one
//! is moved, what it points to now is loaded before what it pointed to may go.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{AppState, ProjectState, asked_model::in_the_name_of, error::ApiError, missing::Missing, models};
use crate::{domain::ModelFiles, store::Store};

/// Time between two looks at what the names mean; other processes move aliases too.
const EVERY: Duration = Duration::from_secs(5);

/// How far the pinned models are.
#[derive(Debug)]
pub struct PinnedModels {
    /// What is missing before the process is ready.
    pub missing: Missing,
    /// What each name meant when it was last looked up.
    meant: Mutex<HashMap<String, ModelFiles>>,
}

impl PinnedModels {
    /// None of these is loaded yet.
    pub fn new(names: &[String]) -> Self {
        let missing = names.first().map(|name| format!("the pinned model {name:?} is not loaded yet"));
        Self { missing: Missing::new(missing), meant: Mutex::default() }
    }

    /// What a name means from now on; where nobody can tell at the moment, what it meant before.
    fn means(&self, name: &str, found: &Result<ModelFiles, ApiError>) -> Option<ModelFiles> {
        let mut meant = self.meant.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(files) => {
                meant.insert(name.to_owned(), files.clone());
            }
            // It was deleted, or what it means now can answer nobody.
            Err(ApiError::ModelNotFound { .. } | ApiError::ModelUnusable { .. }) => {
                meant.remove(name);
            }
            // The database or the artifact store is away.
            Err(_) => {}
        }
        meant.get(name).cloned()
    }
}

/// Keeps the pinned models in memory until the process is about to stop.
pub async fn keep_pinned(state: AppState) {
    while !state.pinned.is_empty() && !state.shutdown.is_cancelled() {
        for (name, error) in keep_pinned_once(&state).await {
            tracing::warn!(name, %error, "a pinned model is not in memory");
        }
        tokio::select! {
            () = state.shutdown.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Loads what the names mean now, and pins exactly that. Gives the names that could not be looked up or loaded, and why.
pub async fn keep_pinned_once(state: &AppState) -> Vec<(String, ApiError)> {
    let (mut names, mut kept, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for name in &state.pinned {
        let found = find(state, name).await;
        if let Some(files) = state.pinned_models.means(name, &found) {
            names.push(name.clone());
            kept.push(files);
        }
        faults.extend(found.err().map(|error| (name.clone(), error)));
    }
    let outcomes = state.engine.keep(&kept).await;
    for (name, outcome) in names.into_iter().zip(outcomes) {
        if let Err(error) = outcome {
            let error = in_the_name_of(&name, error);
            faults.push((name, error));
        }
    }
    let words = |(name, error): &(String, ApiError)| format!("the pinned model {name:?}: {error}");
    state.pinned_models.missing.found(faults.first().map(words));
    faults
}

/// A pinned name is one of the default project: the settings name no other.
async fn find(state: &AppState, name: &str) -> Result<ModelFiles, ApiError> {
    let state = &ProjectState::new(state.clone(), Store::default_project());
    models::open(state, &models::find(state, name).await?).await
}
