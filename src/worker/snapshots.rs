//! Snapshots on their way between an attempt's folder and the artifact store.
//!
//! ```text
//! child: snapshot-500/ ─▶ jobs/{id}/e{epoch}/snapshot-500/…, manifest last ─▶ its row (fenced) ─▶ older rows, older files
//! next attempt: newest row ─▶ fetched, every byte verified ─▶ the child continues; else the row before, else the start
//! ```
//!
//! A crash before the row leaves files that nobody knows; whoever stores the job's next snapshot, or ends it, removes
//! everything of the job's past epochs that has no row. A failed or cancelled job keeps its newest snapshot, so that a
//! retry continues from it; a succeeded one needs none. Trouble with a snapshot costs time and an event, never the job.

use std::{io::ErrorKind, path::Path};

use serde_json::json;

use super::{Attempt, AttemptError, Worker};
use crate::{
    artifacts::ArtifactError,
    domain::{JobError, JobId},
    store::{EventLevel, NewEvent, Snapshot, StoreError},
    telemetry::chain,
};

/// Where fetched snapshots lie below the attempt's folder.
const FETCHED: &str = "resume";
/// Succeeded jobs whose snapshots are removed in one sweep.
const SWEEP_LIMIT: u32 = 20;

/// Stores a snapshot that the child has written, and lets go of older ones. When two newer ones came before there was time
/// for it, the child may have taken it away: both rename it first, so that it is whole or gone.
pub async fn store(worker: &Worker, attempt: &Attempt, step: i64, folder: &Path) -> Result<(), AttemptError> {
    let claimed = folder.with_extension("storing");
    match tokio::fs::rename(folder, &claimed).await {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return attempt.tell(not_stored(step, &chain(&error))).await,
    }
    let stored = publish(worker, attempt, step, &claimed).await;
    if let Err(error) = tokio::fs::remove_dir_all(&claimed).await {
        tracing::warn!(folder = %claimed.display(), %error, "cannot remove a stored snapshot");
    }
    stored
}

async fn publish(worker: &Worker, attempt: &Attempt, step: i64, folder: &Path) -> Result<(), AttemptError> {
    let (job, lease) = (attempt.job.id, attempt.lease);
    let artifact_prefix = format!("jobs/{job}/e{}/snapshot-{step}", lease.epoch);
    let published = match worker.artifacts.publish_directory(&artifact_prefix, folder).await {
        Ok(published) => published,
        Err(error) => return attempt.tell(not_stored(step, &chain(&error))).await,
    };
    let snapshot = Snapshot {
        lease_epoch: lease.epoch,
        step,
        artifact_prefix,
        manifest_sha256: published.manifest_sha256,
        bytes: published.bytes,
    };
    attempt.persist(|| attempt.store().record_snapshot(lease, &snapshot)).await?;
    attempt.persist(|| attempt.store().forget_older_snapshots(lease, step)).await?;
    sweep(worker, job, lease.epoch, Some(&snapshot.artifact_prefix)).await;
    Ok(())
}

/// The newest snapshot of the job that is whole, in the attempt's folder: its place there. One that is not is forgotten.
pub async fn fetch_newest(worker: &Worker, attempt: &Attempt, folder: &Path) -> Result<Option<Fetched>, AttemptError> {
    for snapshot in attempt.persist(|| attempt.store().snapshots(attempt.job.id)).await? {
        let cache = folder.join(FETCHED);
        let (prefix, digest) = (&snapshot.artifact_prefix, &snapshot.manifest_sha256);
        match worker.artifacts.fetch_directory(prefix, digest, &cache).await {
            Ok(_) => return Ok(Some(Fetched { place: format!("{FETCHED}/{digest}"), snapshot })),
            Err(
                error @ (ArtifactError::Missing { .. }
                | ArtifactError::Corrupt { .. }
                | ArtifactError::BrokenManifest { .. }),
            ) => give_up(attempt, &snapshot, &chain(&error)).await?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// A snapshot in the attempt's folder.
pub struct Fetched {
    /// Where it lies, relative to the attempt's folder.
    pub place: String,
    /// Its row.
    snapshot: Snapshot,
}

impl Fetched {
    /// Forgets a snapshot that the child refused.
    pub async fn refused(&self, attempt: &Attempt, why: &JobError) -> Result<(), AttemptError> {
        give_up(attempt, &self.snapshot, &why.message).await
    }
}

async fn give_up(attempt: &Attempt, snapshot: &Snapshot, why: &str) -> Result<(), AttemptError> {
    let step = snapshot.step;
    let message = format!("the snapshot after step {step} is not used: {why}");
    attempt.tell(warning(JobError::SNAPSHOT_UNUSABLE, message, step)).await?;
    attempt.persist(|| attempt.store().forget_snapshot(attempt.lease, snapshot)).await
}

fn not_stored(step: i64, why: &str) -> NewEvent {
    warning("snapshot_failed", format!("the snapshot after step {step} could not be stored: {why}"), step)
}

fn warning(code: &str, message: String, step: i64) -> NewEvent {
    NewEvent { level: EventLevel::Warn, code: code.to_owned(), message, data: json!({"step": step}) }
}

/// Removes all snapshots of the job, which has just succeeded. Should this process die before, the reaper does it.
pub async fn remove_after_success(worker: &Worker, attempt: &Attempt) {
    let job = attempt.job.id;
    if sweep(worker, job, attempt.lease.epoch, None).await
        && let Err(error) = worker.store.forget_snapshots_of_succeeded(job).await
    {
        tracing::warn!(%job, %error, "cannot forget old snapshots");
    }
}

/// Removes the files of succeeded jobs' snapshots, and then their rows.
pub async fn remove_of_succeeded(worker: &Worker) -> Result<(), StoreError> {
    for (job, epoch) in worker.store.succeeded_with_snapshots(SWEEP_LIMIT).await? {
        if sweep(worker, job, epoch, None).await {
            worker.store.forget_snapshots_of_succeeded(job).await?;
        }
    }
    Ok(())
}

/// Removes the files of all snapshots of a job up to an epoch but one; whether that worked. What is left over costs disk
/// alone, and the next sweep finds it.
async fn sweep(worker: &Worker, job: JobId, epoch: i64, kept: Option<&str>) -> bool {
    let swept = sweep_or_error(worker, job, epoch, kept).await;
    if let Err(error) = &swept {
        tracing::warn!(%job, error = %chain(error), "cannot remove old snapshots");
    }
    swept.is_ok()
}

async fn sweep_or_error(worker: &Worker, job: JobId, epoch: i64, kept: Option<&str>) -> Result<(), ArtifactError> {
    for hold in worker.artifacts.folders(&format!("jobs/{job}")).await? {
        if !is_of_epoch_up_to(&hold, epoch) {
            continue;
        }
        for name in worker.artifacts.folders(&format!("jobs/{job}/{hold}")).await? {
            let prefix = format!("jobs/{job}/{hold}/{name}");
            if name.starts_with("snapshot-") && Some(prefix.as_str()) != kept {
                worker.artifacts.delete_directory(&prefix).await?;
            }
        }
    }
    Ok(())
}

/// Later epochs are somebody else's: this attempt may have lost its lease without knowing.
fn is_of_epoch_up_to(folder: &str, epoch: i64) -> bool {
    folder.strip_prefix('e').and_then(|number| number.parse::<i64>().ok()).is_some_and(|number| number <= epoch)
}
