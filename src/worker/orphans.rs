//! Files of the artifact store that no row refers to.
//!
//! The files come before their row, so what has no row may be about to get one: the epoch excludes that for what attempts
//! leave, and for uploads and the files of an annotation that has ended the day does. An artifact store belongs to one
//! database, the first that swept it: another one, which a mistaken setting has brought together with it, knows none of its
//! files.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;

use super::leftovers::{Leftover, Places};
use crate::{
    artifacts::Listed,
    domain::{JobId, Lease},
    registry::RegistryError,
    store::{Artifact, Store},
    survey::file_key,
};

/// Artifacts that the database is asked about at once.
const BATCH: usize = 1000;

/// What was written before that and no row refers to.
pub async fn orphans(places: Places<'_>, before: DateTime<Utc>) -> Result<Vec<Leftover>, RegistryError> {
    if !places.artifacts.belong_to(&places.store.identity().await?).await? {
        tracing::warn!("the artifacts belong to another database; what this one does not know is left alone");
        return Ok(Vec::new());
    }
    let (mut orphans, mut stored) = (Vec::new(), Stored::default());
    let mut uploads = places.artifacts.list("files");
    while let Some(file) = uploads.try_next().await? {
        stored.add(file);
        if stored.0.len() >= BATCH {
            orphans.extend(stored.take_orphans(places.store, before).await?);
        }
    }
    for job in places.artifacts.folders("jobs").await? {
        let mut files = places.artifacts.list(&format!("jobs/{job}"));
        while let Some(file) = files.try_next().await? {
            stored.add(file);
        }
        // Never amid a job: its folders are judged by their newest file.
        if stored.0.len() >= BATCH {
            orphans.extend(stored.take_orphans(places.store, before).await?);
        }
    }
    orphans.extend(stored.take_orphans(places.store, before).await?);
    Ok(orphans)
}

/// Files of the artifact store, by the place that a row would name.
#[derive(Debug, Default)]
struct Stored(BTreeMap<String, Files>);

#[derive(Debug)]
struct Files {
    left_by: Option<Lease>,
    newest: DateTime<Utc>,
    bytes: u64,
    keys: Vec<String>,
}

impl Stored {
    fn add(&mut self, file: Listed) {
        let Some(Artifact { place, left_by }) = artifact_of(&file.key) else { return };
        let files = self.0.entry(place).or_insert(Files { left_by, newest: file.modified, bytes: 0, keys: Vec::new() });
        files.newest = files.newest.max(file.modified);
        files.bytes += file.bytes;
        files.keys.push(file.key);
    }

    /// Those that no row refers to; all are forgotten.
    async fn take_orphans(&mut self, store: &Store, before: DateTime<Utc>) -> Result<Vec<Leftover>, RegistryError> {
        let mut stored = std::mem::take(&mut self.0);
        stored.retain(|_, files| files.newest < before);
        let artifact = |(place, files): (&String, &Files)| Artifact { place: place.clone(), left_by: files.left_by };
        let artifacts: Vec<_> = stored.iter().map(artifact).collect();
        let orphans = store.orphans(&artifacts).await?.into_iter();
        let orphans = orphans.filter_map(|place| stored.remove(&place).map(|files| (place, files)));
        Ok(orphans.map(|(place, files)| Leftover::stored(place, files.keys, files.bytes)).collect())
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
    use super::{super::attempt_folder, *};

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
