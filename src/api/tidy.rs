//! A serving process puts away on its own machine what workers have retired or others deleted, and what an earlier process left
//! half-done.

use std::time::Duration;

use super::AppState;
use crate::{
    registry::RegistryError,
    telemetry::chain,
    tidy::{forget_removed, remove_abandoned},
};

const EVERY: Duration = Duration::from_secs(30);

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
    let abandoned = remove_abandoned(&state.registry, &state.scratch, state.clock.now());
    forget_removed(&state.registry, &state.engine).await.and(abandoned)
}
