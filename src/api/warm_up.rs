//! The first forward pass, which proves that the engine answers: a process is not ready before it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::AppState;
use crate::inference::InferenceError;

/// Time between a pass that failed and the next one.
const AGAIN: Duration = Duration::from_secs(5);

/// How far the first forward pass is.
#[derive(Debug)]
pub struct FirstPass {
    /// What is missing before the process is ready; none once a pass has gone through.
    missing: Mutex<Option<String>>,
}

impl FirstPass {
    /// None was tried yet.
    pub fn new() -> Self {
        Self { missing: Mutex::new(Some("the first forward pass is not done yet".to_owned())) }
    }

    /// What is missing.
    pub fn missing(&self) -> Option<String> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ended(&self, outcome: &Result<(), InferenceError>) {
        let words = outcome.as_ref().err().map(|error| format!("the first forward pass failed: {error}"));
        *self.missing.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }
}

/// Does real forward passes until one goes through, or the process is about to stop.
pub async fn warm_up(state: AppState) {
    while let Err(error) = warm_up_once(&state).await {
        tracing::error!(%error, "the inference engine does not work; trying again in {AGAIN:?}");
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = state.shutdown.cancelled() => return,
        }
    }
}

/// Does one real forward pass, of which `/readyz` tells.
///
/// # Errors
/// When it fails.
pub async fn warm_up_once(state: &AppState) -> Result<(), InferenceError> {
    let outcome = state.engine.warm_up().await;
    state.first_pass.ended(&outcome);
    outcome
}
