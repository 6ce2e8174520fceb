//! The files and the result of annotations that failed or were cancelled: whatever was paid for is kept in the form that
//! it would have had. The end does not wait for them, and may have come without an attempt; so any worker that takes
//! annotations writes them as soon as it hears of the end (`store::annotation_ends`).

use std::{sync::Arc, time::Duration};

use super::{
    AttemptError, Worker,
    annotation_files::{Whose, Written},
};
use crate::{
    domain::{File, Job, JobSpec},
    shutdown::Shutdown,
    survey::remove_file,
    telemetry::chain,
};

/// Nobody writes for so long; whoever does is overtaken, which costs the work and nothing else.
const CLAIM: Duration = Duration::from_secs(300);
/// Time between looks when nothing wakes the worker.
const EVERY: Duration = Duration::from_secs(5);

/// Writes until shutdown.
pub async fn run(worker: Arc<Worker>, shutdown: Shutdown) {
    while !shutdown.is_cancelled() {
        match write_end_once(&worker).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(?error, "the files of an annotation that has ended are written later"),
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = worker.wake.notified() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// One look and, where an annotation has ended without its result, that result. Returns whether there was one.
///
/// # Errors
/// The job is taken up again when the claim runs out.
pub async fn write_end_once(worker: &Worker) -> Result<bool, AttemptError> {
    let Some(job) = worker.store.claim_annotation_end(CLAIM).await? else { return Ok(false) };
    let JobSpec::Annotation(spec) = &job.spec else { return Ok(true) };
    let source = worker.store.file(job.project_id, spec.file).await?;
    let source = source.map_or_else(|| job.id.to_string(), |file| file.filename);
    let whose = Whose { worker, job: &job, spec, source: &source, attempt: None };
    if worker.store.annotation_sums(job.id).await?.settled() == 0 {
        worker.store.write_annotation_end(&job, &whose.without_answers().await?, &[]).await?;
        return Ok(true);
    }
    let written = whose.write().await?;
    publish(worker, &job, &written).await?;
    Ok(true)
}

/// Files that get no row are removed.
async fn publish(worker: &Worker, job: &Job, written: &Written) -> Result<(), AttemptError> {
    let files: Vec<&File> = written.files.iter().collect();
    if worker.store.write_annotation_end(job, &written.result, &files).await? {
        tracing::info!(job = %job.id, "wrote what an annotation had found by its end");
        return Ok(());
    }
    for file in files {
        if let Err(error) = remove_file(&worker.artifacts, &file.artifact_key).await {
            tracing::warn!(error = %chain(&error), key = file.artifact_key, "a file that nobody needs stays for now");
        }
    }
    Ok(())
}
