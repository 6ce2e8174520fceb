//! What killed processes leave on disk and nobody needs any more.
//!
//! | what | goes when |
//! |---|---|
//! | `scratch/{job}-e{epoch}` | the job does not run under that epoch, and for an hour nothing came into the folder |
//! | half-fetched models, half-written fingerprints, staged uploads | nobody has written to it for a day |
//! | `files/…`, `jobs/{job}/e{epoch}/…` in the artifact store | it was written a day ago, no row refers to it, and the job does not run under that epoch |
//!
//! The files come before their row, so what has no row may be about to get one: the epoch excludes that for what attempts
//! leave, and for uploads and the files of an annotation that has ended the day does. An artifact store belongs to one database, the first that swept it: another one,
//! which a mistaken setting has brought together with it, knows none of its files. Each part is done even where another
//! fails, and every file by itself.

use std::{collections::BTreeMap, path::PathBuf, time::SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;

use super::{Worker, attempt_folder};
use crate::{
    artifacts::{ArtifactError, Listed, untouched_since},
    domain::{JobId, Lease},
    registry::RegistryError,
    store::Artifact,
    survey::file_key,
    telemetry::chain,
    tidy::{ABANDONED, remove_abandoned},
};

/// An attempt that has lost its lease stops within minutes.
const ATTEMPT_OVER: TimeDelta = TimeDelta::hours(1);
/// Artifacts that the database is asked about at once.
const BATCH: usize = 1000;

/// Removes what can be removed now.
///
/// # Errors
/// The first one.
pub async fn remove_leftovers(worker: &Worker) -> Result<(), RegistryError> {
    let now = worker.clock.now();
    let before = now - ABANDONED;
    let attempts = remove_attempt_folders(worker, SystemTime::from(now - ATTEMPT_OVER)).await;
    let abandoned = remove_abandoned(&worker.registry, &worker.scratch, now);
    let staged = worker.artifacts.remove_staged(before.into()).await;
    let orphans = remove_orphans(worker, before).await;
    attempts.and(abandoned).and(staged.map(drop).map_err(RegistryError::from)).and(orphans)
}

async fn remove_attempt_folders(worker: &Worker, before: SystemTime) -> Result<(), RegistryError> {
    let unreadable = |path: &PathBuf, source| RegistryError::Unreadable { path: path.clone(), source };
    let entries = untouched_since(&worker.scratch, before).map_err(|error| unreadable(&worker.scratch, error))?;
    let folders: Vec<_> = entries
        .into_iter()
        .filter_map(|(name, path)| attempt_folder::lease_of(&name).map(|lease| (lease, path)))
        .collect();
    let leases: Vec<_> = folders.iter().map(|(lease, _)| *lease).collect();
    let held = worker.store.held(&leases).await?;
    let mut removed = Ok(());
    for (_, path) in folders.iter().filter(|(lease, _)| !held.contains(lease)) {
        match tokio::fs::remove_dir_all(path).await {
            Ok(()) => tracing::info!(folder = %path.display(), "removed what a killed attempt left"),
            Err(error) => removed = removed.and(Err(unreadable(path, error))),
        }
    }
    removed
}

async fn remove_orphans(worker: &Worker, before: DateTime<Utc>) -> Result<(), RegistryError> {
    if !worker.artifacts.belong_to(&worker.store.identity().await?).await? {
        tracing::warn!("the artifacts belong to another database; what this one does not know is left alone");
        return Ok(());
    }
    let mut removed = Ok(());
    let mut found = Found::default();
    let mut uploads = worker.artifacts.list("files");
    while let Some(file) = uploads.try_next().await? {
        found.add(file);
        if found.0.len() >= BATCH {
            removed = removed.and(found.remove_orphans(worker, before).await);
        }
    }
    for job in worker.artifacts.folders("jobs").await? {
        let mut files = worker.artifacts.list(&format!("jobs/{job}"));
        while let Some(file) = files.try_next().await? {
            found.add(file);
        }
        // Never amid a job: its folders are judged by their newest file.
        if found.0.len() >= BATCH {
            removed = removed.and(found.remove_orphans(worker, before).await);
        }
    }
    removed.and(found.remove_orphans(worker, before).await)
}

/// Files of the artifact store, by the place that a row would name.
#[derive(Debug, Default)]
struct Found(BTreeMap<String, Files>);

#[derive(Debug)]
struct Files {
    left_by: Option<Lease>,
    newest: DateTime<Utc>,
    keys: Vec<String>,
}

impl Found {
    fn add(&mut self, file: Listed) {
        let Some(Artifact { place, left_by }) = artifact_of(&file.key) else { return };
        let files = self.0.entry(place).or_insert(Files { left_by, newest: file.modified, keys: Vec::new() });
        files.newest = files.newest.max(file.modified);
        files.keys.push(file.key);
    }

    /// Removes those that no row refers to, and forgets them all.
    async fn remove_orphans(&mut self, worker: &Worker, before: DateTime<Utc>) -> Result<(), RegistryError> {
        let mut found = std::mem::take(&mut self.0);
        found.retain(|_, files| files.newest < before);
        let artifact = |(place, files): (&String, &Files)| Artifact { place: place.clone(), left_by: files.left_by };
        let artifacts: Vec<_> = found.iter().map(artifact).collect();
        let mut removed: Result<(), ArtifactError> = Ok(());
        for place in worker.store.orphans(&artifacts).await? {
            tracing::info!(place, "removing what no row refers to");
            for key in found.get(&place).into_iter().flat_map(|files| &files.keys) {
                if let Err(error) = worker.artifacts.delete(key).await {
                    tracing::warn!(error = %chain(&error), key, "what no row refers to stays for now");
                    removed = removed.and(Err(error));
                }
            }
        }
        Ok(removed?)
    }
}

/// What a file is part of: a row names a file, or a folder below its attempt's. Anything else is not ours.
fn artifact_of(key: &str) -> Option<Artifact> {
    let parts: Vec<&str> = key.split('/').collect();
    match parts[..] {
        ["files", _] => Some(Artifact { place: file_key(key).to_owned(), left_by: None }),
        ["jobs", job, epoch, name, ref inner @ ..] => {
            let job_id: JobId = job.parse().ok()?;
            let left_by = Some(Lease { job_id, epoch: epoch.strip_prefix('e')?.parse().ok()? });
            let place = if inner.is_empty() { file_key(key).to_owned() } else { format!("jobs/{job}/{epoch}/{name}") };
            Some(Artifact { place, left_by })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_what_a_row_would_name() {
        let job = "job-0199f3c2a5b87e4d9c1f2a3b4c5d6e7f";
        let lease = Some(Lease { job_id: job.parse().unwrap(), epoch: 3 });
        for (key, place, left_by) in [
            ("files/file-1".to_owned(), "files/file-1".to_owned(), None),
            ("files/file-1.fingerprint".to_owned(), "files/file-1".to_owned(), None),
            (format!("jobs/{job}/e3/output.jsonl"), format!("jobs/{job}/e3/output.jsonl"), lease),
            (format!("jobs/{job}/e3/output.jsonl.fingerprint"), format!("jobs/{job}/e3/output.jsonl"), lease),
            (format!("jobs/{job}/e3/checkpoint-20/config.json"), format!("jobs/{job}/e3/checkpoint-20"), lease),
        ] {
            assert_eq!(artifact_of(&key), Some(Artifact { place, left_by }), "{key}");
        }
        for strange in ["files", "files/a/b", "jobs/mine/e3/output.jsonl", "models/a", &format!("jobs/{job}/3/a")] {
            assert_eq!(artifact_of(strange), None, "{strange}");
        }
        assert_eq!(attempt_folder::lease_of(&format!("{job}-e3")), lease);
        assert_eq!(attempt_folder::lease_of("fingerprint-e3"), None);
    }
}
