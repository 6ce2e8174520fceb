//! Removes files whose time is over, what deleted files and models have left: in the artifact store, as copies on this
//! machine, and as students that this process has loaded; and now and then what killed processes left (`leftovers`).
//!
//! Models, checkpoints and files go by one protocol: the row is marked as deleted, then the bytes go, then the row is noted as
//! purged; until it is, every sweep tries again. Snapshots need no note: theirs are gone with their row, and what a crash leaves
//! of them has no row, which is how `snapshots` and `leftovers` know it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Worker, leftovers};
use crate::{
    registry::RegistryError, shutdown::Shutdown, store::RemovedFile, survey::remove_file, telemetry::chain,
    tidy::forget_removed,
};

/// Whoever deletes a model or a file removes what it leaves at once; this is for what a crash left behind.
const EVERY: Duration = Duration::from_secs(30);
/// That reads the whole list of artifacts.
const LEFTOVERS_EVERY: Duration = Duration::from_secs(3600);
/// Files whose time is over that one sweep removes.
const MAX_FILES: u32 = 1000;
/// Removed files looked at in one statement.
const PAGE: u32 = 1000;

/// Sweeps until shutdown.
pub async fn run(worker: Arc<Worker>, shutdown: Shutdown) {
    let mut leftovers_due = Instant::now();
    while !shutdown.is_cancelled() {
        if let Err(error) = sweep_once(&worker).await {
            tracing::warn!(error = %chain(&error), "what deleted or expired files and models left stays for now");
        }
        if Instant::now() >= leftovers_due {
            leftovers_due = Instant::now() + LEFTOVERS_EVERY;
            if let Err(error) = leftovers::remove_leftovers(&worker).await {
                tracing::warn!(error = %chain(&error), "what killed processes left stays for now");
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// One sweep. Each part is done even where another fails.
///
/// # Errors
/// The first one.
pub async fn sweep_once(worker: &Worker) -> Result<(), RegistryError> {
    let files = sweep_files(worker).await;
    let models = worker.registry.sweep().await;
    forget_removed(&worker.registry, &worker.engine).await.and(files).and(models)
}

/// Rows first, then the bytes of all that is deleted, then the note that they are gone.
async fn sweep_files(worker: &Worker) -> Result<(), RegistryError> {
    for file in worker.store.expire_files(MAX_FILES).await? {
        tracing::info!(%file, "a file has expired");
    }
    let (mut after, mut swept) = (None, Ok(()));
    loop {
        let page = worker.store.unpurged_files(after, PAGE).await?;
        let Some(last) = page.last() else { return swept };
        after = Some(last.id);
        for removed in &page {
            if let Err(error) = purge(worker, removed).await {
                tracing::warn!(error = %chain(&error), file = %removed.id, "the bytes of a deleted file stay for now");
                swept = swept.and(Err(error));
            }
        }
    }
}

async fn purge(worker: &Worker, removed: &RemovedFile) -> Result<(), RegistryError> {
    remove_file(&worker.artifacts, &removed.artifact_key).await?;
    Ok(worker.store.file_purged(removed.id).await?)
}
