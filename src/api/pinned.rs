//! Pinned models: in memory and warm before the process says that it is ready, and never put away. Names may be aliases: when one
//! is moved, what it points to now is loaded before what it pointed to may go.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{
    AppState,
    asked_model::{self, in_the_name_of},
    error::ApiError,
    models,
};
use crate::inference::ModelFiles;

/// Time between two looks at what the names mean; other processes move aliases too.
const EVERY: Duration = Duration::from_secs(5);

/// How far the pinned models are.
#[derive(Debug)]
pub struct PinnedModels {
    /// What is missing before the process is ready. Once it is, a model that is taken away does not make it unready: it serves
    /// others.
    missing: Mutex<Option<String>>,
}

impl PinnedModels {
    /// None of these is loaded yet.
    pub fn new(names: &[String]) -> Self {
        let missing = names.first().map(|name| format!("the pinned model {name:?} is not loaded yet"));
        Self { missing: Mutex::new(missing) }
    }

    /// What is missing; none once all were there.
    pub fn missing(&self) -> Option<String> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn found(&self, fault: Option<&(String, ApiError)>) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let words = |(name, error): &(String, ApiError)| format!("the pinned model {name:?}: {error}");
        *missing = missing.take().and_then(|_| fault.map(words));
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

/// Loads what the names mean now, and pins exactly that. Gives the names that could not be loaded, and why.
pub async fn keep_pinned_once(state: &AppState) -> Vec<(String, ApiError)> {
    let (mut names, mut kept, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for name in &state.pinned {
        match find(state, name).await {
            Ok(files) => {
                names.push(name.clone());
                kept.push(files);
            }
            Err(error) => faults.push((name.clone(), error)),
        }
    }
    // What cannot be found at the moment, because the database is away, stays pinned.
    if faults.is_empty() || !kept.is_empty() {
        let outcomes = state.engine.keep(&kept).await;
        for (name, outcome) in names.into_iter().zip(outcomes) {
            if let Err(error) = outcome {
                let error = in_the_name_of(&name, error);
                faults.push((name, error));
            }
        }
    }
    state.pinned_models.found(faults.first());
    faults
}

async fn find(state: &AppState, name: &str) -> Result<ModelFiles, ApiError> {
    asked_model::files(state, &models::find(state, name).await?).await
}
