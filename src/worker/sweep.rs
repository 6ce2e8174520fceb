//! Removes what deleted models have left: their files in the artifact store, their copies on this machine, and the students
//! that this process has loaded.

use std::{sync::Arc, time::Duration};

use super::Worker;
use crate::{registry::RegistryError, shutdown::Shutdown, telemetry::chain};

/// Whoever deletes a model removes its files at once; this is for what a crash left behind.
const EVERY: Duration = Duration::from_secs(30);

/// Sweeps until shutdown.
pub async fn run(worker: Arc<Worker>, shutdown: Shutdown) {
    while !shutdown.is_cancelled() {
        if let Err(error) = sweep_once(&worker).await {
            tracing::warn!(error = %chain(&error), "the files of deleted models stay for now");
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// One sweep.
pub async fn sweep_once(worker: &Worker) -> Result<(), RegistryError> {
    worker.registry.sweep().await?;
    for key in worker.registry.tidy_cache().await? {
        worker.engine.forget(&key);
    }
    Ok(())
}
