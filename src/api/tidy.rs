//! What a serving process puts away on its own machine: copies of models that workers have retired or others deleted, and
//! what an earlier process left half-done when it was killed. What lies in the artifact store is for workers to sweep.

use std::time::{Duration, SystemTime};

use chrono::TimeDelta;

use super::AppState;
use crate::{registry::RegistryError, survey, telemetry::chain};

const EVERY: Duration = Duration::from_secs(30);
/// Nobody works for so long on one file without writing to it.
const ABANDONED: TimeDelta = TimeDelta::days(1);

/// Tidies until the process is about to stop.
pub async fn tidy(state: AppState) {
    while !state.shutdown.is_cancelled() {
        if let Err(error) = tidy_once(&state).await {
            tracing::warn!(error = %chain(&error), "copies of removed models stay for now");
        }
        tokio::select! {
            () = state.shutdown.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Tidies once.
pub async fn tidy_once(state: &AppState) -> Result<(), RegistryError> {
    let before = SystemTime::from(state.clock.now() - ABANDONED);
    let unfetched = state.registry.remove_unfetched(before);
    let left = survey::remove_left(&state.scratch, before)
        .map_err(|source| RegistryError::Unreadable { path: state.scratch.clone(), source });
    forget_removed(state).await.and(unfetched).and(left)
}

/// Removes the local copies of models that are no longer there, also from memory.
pub async fn forget_removed(state: &AppState) -> Result<(), RegistryError> {
    for key in state.registry.tidy_cache().await? {
        state.engine.forget(&key);
    }
    Ok(())
}
