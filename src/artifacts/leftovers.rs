//! What killed processes leave: uploads that were never finished, copies of folders that were never wholly fetched or never wholly
//! thrown away, and files that no row came to name. The last can only be listed here; who knows the rows removes them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{Stream, TryStreamExt};
use object_store::{PutMode, PutOptions, PutPayload, path::Path as Key};

use super::{ArtifactError, Artifacts, directory::FETCHING, local_copy::DISCARDED, store_error};

/// Where the owner's name lies.
const OWNER: &str = "owner";

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last written.
    pub modified: DateTime<Utc>,
}

impl Artifacts {
    /// Every file below a prefix; none where there is no such prefix. Unfinished uploads are not among them.
    pub fn list(&self, prefix: &str) -> impl Stream<Item = Result<Listed, ArtifactError>> + Send + Unpin + use<> {
        let failed = prefix.to_owned();
        let listed = self.store.list(Some(&Key::from(prefix)));
        listed
            .map_ok(|file| Listed { key: file.location.to_string(), bytes: file.size, modified: file.last_modified })
            .map_err(move |source| store_error(&failed, source))
    }

    /// Whether these artifacts belong to the owner of that name; the first who asks owns them.
    pub async fn belong_to(&self, owner: &str) -> Result<bool, ArtifactError> {
        let payload = PutPayload::from(Bytes::from(owner.to_owned()));
        let options = PutOptions::from(PutMode::Create);
        match self.store.put_opts(&Key::from(OWNER), payload, options).await {
            Ok(_) => return Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(source) => return Err(store_error(OWNER, source)),
        }
        let chunks: Vec<Bytes> = self.read(OWNER).await?.try_collect().await?;
        Ok(chunks.concat() == owner.as_bytes())
    }

    /// What uploads have staged and nobody has written to since.
    pub async fn staged(&self, before: SystemTime) -> Result<Vec<PathBuf>, ArtifactError> {
        let folder = self.folder.clone();
        let found = tokio::task::spawn_blocking(move || staged(&folder, before)).await;
        let found = found.map_err(io::Error::other).and_then(|found| found);
        found.map_err(|source| ArtifactError::Local { path: self.folder.clone(), source })
    }
}

/// What is half a copy in a cache, because it was not wholly fetched or not wholly thrown away, and what nobody has touched since.
pub fn half_copies(cache: &Path, before: SystemTime) -> Result<Vec<PathBuf>, ArtifactError> {
    let entries =
        untouched_since(cache, before).map_err(|source| ArtifactError::Local { path: cache.to_owned(), source })?;
    let half = entries.into_iter().filter(|(name, _)| name.starts_with(FETCHING) || name.starts_with(DISCARDED));
    Ok(half.map(|(_, path)| path).collect())
}

/// Removes files and folders on the local disk; what is gone already is no error.
///
/// # Errors
/// The first one; the others are removed all the same.
pub fn remove_local(paths: &[PathBuf]) -> Result<(), ArtifactError> {
    let mut removed = Ok(());
    for path in paths {
        let gone = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        let gone = absent_is_fine(gone).map_err(|source| ArtifactError::Local { path: path.clone(), source });
        removed = removed.and(gone);
    }
    removed
}

/// Names and paths in a local folder that nobody has written to since; none where there is no such folder.
pub fn untouched_since(folder: &Path, before: SystemTime) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        // Another process may remove it while we look.
        let untouched = entry.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|at| at < before);
        if let (true, Ok(name)) = (untouched, entry.file_name().into_string()) {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

fn staged(folder: &Path, before: SystemTime) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let untouched = untouched_since(&folder, before)?.into_iter();
        found.extend(untouched.filter(|(name, _)| is_staged(name)).map(|(_, path)| path));
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        let inner = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.extend(inner.map(|entry| entry.path()));
    }
    Ok(found)
}

/// The object store stages an upload of `key` as `key#1`, or with the next number that is free.
fn is_staged(name: &str) -> bool {
    let number = name.rsplit_once('#').map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What is to be removed may be gone already.
pub(super) fn absent_is_fine(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_an_upload_has_staged_goes_when_nobody_has_written_to_it_for_long() {
        let root = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::local(root.path()).unwrap();
        let mut writer = artifacts.writer("files/left").await.unwrap();
        writer.write(&vec![7; 6 << 20]).await.unwrap();
        artifacts.put("files/whole", bytes::Bytes::from_static(b"1")).await.unwrap();
        // A killed process does not clean up.
        std::mem::forget(writer);
        let names = || {
            let entries = fs::read_dir(root.path().join("files")).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(names(), ["left#1", "whole"]);
        let start = SystemTime::UNIX_EPOCH;
        assert_eq!(artifacts.staged(start).await.unwrap(), Vec::<PathBuf>::new());
        let later = fs::metadata(root.path()).unwrap().modified().unwrap() + Duration::from_secs(3600);
        remove_local(&artifacts.staged(later).await.unwrap()).unwrap();
        assert_eq!(names(), ["whole"]);
    }

    #[tokio::test]
    async fn artifacts_belong_to_whoever_asks_first() {
        let root = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::local(root.path()).unwrap();
        for (owner, owns) in [("one", true), ("two", false), ("one", true)] {
            assert_eq!(artifacts.belong_to(owner).await.unwrap(), owns, "{owner}");
        }
    }

    #[test]
    fn a_staged_upload_is_told_by_its_number() {
        assert!(is_staged("output.jsonl#12") && is_staged("#1"));
        assert!(!is_staged("output.jsonl") && !is_staged("a#") && !is_staged("a#1b"));
    }
}
