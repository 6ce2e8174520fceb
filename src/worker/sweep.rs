//! Removes files whose time is over, and what deleted models have left: their files in the artifact store, their copies on
//! this machine, and the students that this process has loaded.

use std::{sync::Arc, time::Duration};

use super::Worker;
use crate::{
    registry::RegistryError, shutdown::Shutdown, store::StoreError, survey::fingerprint_key, telemetry::chain,
};

/// Whoever deletes a model removes its files at once; this is for what a crash left behind.
const EVERY: Duration = Duration::from_secs(30);
/// Expired files that one sweep removes.
const MAX_FILES: u32 = 1000;

/// Sweeps until shutdown.
pub async fn run(worker: Arc<Worker>, shutdown: Shutdown) {
    while !shutdown.is_cancelled() {
        if let Err(error) = sweep_once(&worker).await {
            tracing::warn!(error = %chain(&error), "expired files and those of deleted models stay for now");
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// One sweep.
pub async fn sweep_once(worker: &Worker) -> Result<(), RegistryError> {
    sweep_files(worker).await?;
    worker.registry.sweep().await?;
    for key in worker.registry.tidy_cache().await? {
        worker.engine.forget(&key);
    }
    Ok(())
}

/// Rows first: bytes that stay behind cost space and nothing else.
async fn sweep_files(worker: &Worker) -> Result<(), StoreError> {
    for key in worker.store.sweep_files(MAX_FILES).await? {
        tracing::info!(key, "a file has expired");
        for key in [fingerprint_key(&key), key] {
            if let Err(error) = worker.artifacts.delete(&key).await {
                tracing::warn!(error = %chain(&error), key, "the bytes of an expired file stay");
            }
        }
    }
    Ok(())
}
