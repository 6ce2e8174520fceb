//! Whole folders: published file by file with the manifest last, fetched into a local cache and verified.
//!
//! ```text
//! publish   folder ─▶ prefix/a, prefix/b, … ─▶ prefix/manifest.json (create-only)  ─▶ the caller's row
//! fetch     manifest (its digest comes from the row) ─▶ every file, its digest checked ─▶ rename into the cache
//! ```
//! A crash while publishing leaves files without a manifest, which nothing lists. A crash while fetching leaves a
//! temporary folder, which nothing opens. A published folder never changes, so a cached one never goes stale. The manifest
//! lies in the cached one too, so that it can be held to it again (`local_copy`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{PutMode, PutOptions, PutPayload, path::Path as Key};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    ArtifactError, Artifacts, Manifest, ManifestFile, Published, Stored, discard_copy, manifest::MANIFEST, store_error,
    writer::hex,
};

const CHUNK_BYTES: usize = 1 << 20;
/// What the name of a folder begins with that is being fetched.
pub(super) const FETCHING: &str = "fetching-";

impl Artifacts {
    /// Stores every file of a folder under `prefix`, then the manifest. A prefix is published once: a second manifest is
    /// an error, so that nobody can change what a row already names.
    pub async fn publish_directory(&self, prefix: &str, folder: &Path) -> Result<Published, ArtifactError> {
        let mut files = Vec::new();
        for name in file_names(folder)? {
            let Stored { bytes, sha256 } = self.put_file(&format!("{prefix}/{name}"), &folder.join(&name)).await?;
            files.push(ManifestFile { name, bytes, sha256 });
        }
        let bytes = files.iter().map(|file| file.bytes).sum();
        let manifest = Manifest { files };
        let broken = |reason: String| ArtifactError::BrokenManifest { prefix: prefix.to_owned(), reason };
        if let Some(fault) = manifest.fault() {
            return Err(broken(fault));
        }
        let text = serde_json::to_vec_pretty(&manifest).map_err(|error| broken(error.to_string()))?;
        let manifest_sha256 = hex(&Sha256::digest(&text));
        let key = format!("{prefix}/{MANIFEST}");
        let options = PutOptions::from(PutMode::Create);
        let put = self.store.put_opts(&Key::from(key.as_str()), PutPayload::from(Bytes::from(text)), options).await;
        put.map_err(|source| store_error(&key, source))?;
        Ok(Published { manifest_sha256, bytes })
    }

    /// The folder's files on the local disk, below `cache`. The digest names the cached folder, so a second call costs
    /// nothing.
    ///
    /// # Errors
    /// [`ArtifactError::Corrupt`] when a byte differs from what was published; nothing is cached then.
    pub async fn fetch_directory(
        &self,
        prefix: &str,
        manifest_sha256: &str,
        cache: &Path,
    ) -> Result<PathBuf, ArtifactError> {
        let target = cache.join(manifest_sha256);
        if is_whole(&target) {
            return Ok(target);
        }
        let (manifest, text) = self.manifest(prefix, manifest_sha256).await?;
        fs::create_dir_all(cache).map_err(local(cache))?;
        let scratch = tempfile::Builder::new().prefix(FETCHING).tempdir_in(cache).map_err(local(cache))?;
        for file in &manifest.files {
            self.download(&format!("{prefix}/{}", file.name), file, &scratch.path().join(&file.name)).await?;
        }
        fs::write(scratch.path().join(MANIFEST), text).map_err(local(scratch.path()))?;
        if fs::rename(scratch.path(), &target).is_err() && !is_whole(&target) {
            // A copy of an earlier version, which kept no manifest, is in the way.
            discard_copy(&target).await?;
            fs::rename(scratch.path(), &target).or_else(|source| whole_or(&target, source))?;
        }
        Ok(target)
    }

    /// Removes a published or half-published folder: its manifest first, so that what a crash leaves is not whole.
    pub async fn delete_directory(&self, prefix: &str) -> Result<(), ArtifactError> {
        self.delete(&format!("{prefix}/{MANIFEST}")).await?;
        let key = Key::from(prefix);
        let files: Result<Vec<_>, _> = self.store.list(Some(&key)).try_collect().await;
        for file in files.map_err(|source| store_error(prefix, source))? {
            self.delete(file.location.as_ref()).await?;
        }
        Ok(())
    }

    /// The names of the folders in a folder, in order; none where there is no such folder.
    pub async fn folders(&self, prefix: &str) -> Result<Vec<String>, ArtifactError> {
        let listed = self.store.list_with_delimiter(Some(&Key::from(prefix))).await;
        let listed = listed.map_err(|source| store_error(prefix, source))?;
        let names = listed.common_prefixes.iter().filter_map(|folder| folder.filename());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// A folder's manifest, and its bytes.
    async fn manifest(&self, prefix: &str, expected: &str) -> Result<(Manifest, Vec<u8>), ArtifactError> {
        let key = format!("{prefix}/{MANIFEST}");
        let mut stream = self.read(&key).await?;
        let mut text = Vec::new();
        while let Some(chunk) = stream.next().await {
            text.extend_from_slice(&chunk?);
        }
        let found = hex(&Sha256::digest(&text));
        if found != expected {
            return Err(ArtifactError::Corrupt { key, found, expected: expected.to_owned() });
        }
        Ok((Manifest::read(prefix, &text)?, text))
    }

    /// Stores a local file.
    pub async fn put_file(&self, key: &str, path: &Path) -> Result<Stored, ArtifactError> {
        let mut file = tokio::fs::File::open(path).await.map_err(local(path))?;
        let mut writer = self.writer(key).await?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = file.read(&mut chunk).await.map_err(local(path))?;
            if read == 0 {
                return writer.finish().await;
            }
            writer.write(&chunk[..read]).await?;
        }
    }

    async fn download(&self, key: &str, wanted: &ManifestFile, path: &Path) -> Result<(), ArtifactError> {
        let mut stream = self.read(key).await?;
        let mut file = tokio::fs::File::create(path).await.map_err(local(path))?;
        let mut digest = Sha256::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            digest.update(&chunk);
            file.write_all(&chunk).await.map_err(local(path))?;
        }
        file.sync_all().await.map_err(local(path))?;
        let found = hex(&digest.finalize());
        if found == wanted.sha256 {
            return Ok(());
        }
        Err(ArtifactError::Corrupt { key: key.to_owned(), found, expected: wanted.sha256.clone() })
    }
}

fn file_names(folder: &Path) -> Result<Vec<String>, ArtifactError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(local(folder))? {
        let entry = entry.map_err(local(folder))?;
        if entry.file_type().map_err(local(folder))?.is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// A copy has its manifest from the moment that it has its name.
fn is_whole(copy: &Path) -> bool {
    copy.join(MANIFEST).is_file()
}

/// Somebody else was faster; or the fault.
fn whole_or(copy: &Path, source: std::io::Error) -> Result<(), ArtifactError> {
    if is_whole(copy) { Ok(()) } else { Err(local(copy)(source)) }
}

pub(super) fn local(path: &Path) -> impl Fn(std::io::Error) -> ArtifactError + use<> {
    let path = path.to_owned();
    move |source| ArtifactError::Local { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_published_folder_comes_back_whole_and_only_once() {
        let root = tempfile::tempdir().unwrap();
        let (folder, cache) = (root.path().join("folder"), root.path().join("cache"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("model.bin"), vec![7; 3 << 20]).unwrap();
        let artifacts = Artifacts::local(&root.path().join("store")).unwrap();
        let published = artifacts.publish_directory("jobs/1/e1", &folder).await.unwrap();
        assert_eq!(published.bytes, 3 << 20);
        let fetched = artifacts.fetch_directory("jobs/1/e1", &published.manifest_sha256, &cache).await.unwrap();
        assert_eq!(fs::read(fetched.join("model.bin")).unwrap(), vec![7; 3 << 20]);
        assert!(artifacts.publish_directory("jobs/1/e1", &folder).await.is_err());
    }

    #[tokio::test]
    async fn a_deleted_folder_leaves_nothing_and_may_be_published_again() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("folder");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a"), b"1").unwrap();
        let store = root.path().join("store");
        let artifacts = Artifacts::local(&store).unwrap();
        for prefix in ["jobs/1/e1", "jobs/1/e10"] {
            artifacts.publish_directory(prefix, &folder).await.unwrap();
        }
        artifacts.delete_directory("jobs/1/e1").await.unwrap();
        assert!(!store.join("jobs/1/e1").exists() && store.join("jobs/1/e10/a").exists());
        artifacts.delete_directory("jobs/1/e1").await.unwrap();
        artifacts.publish_directory("jobs/1/e1", &folder).await.unwrap();
    }

    #[tokio::test]
    async fn a_changed_byte_is_never_fetched() {
        let root = tempfile::tempdir().unwrap();
        let (folder, cache) = (root.path().join("folder"), root.path().join("cache"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("weights"), b"right").unwrap();
        let artifacts = Artifacts::local(&root.path().join("store")).unwrap();
        let published = artifacts.publish_directory("m", &folder).await.unwrap();
        fs::write(root.path().join("store/m/weights"), b"wrong").unwrap();
        let error = artifacts.fetch_directory("m", &published.manifest_sha256, &cache).await.unwrap_err();
        assert!(matches!(error, ArtifactError::Corrupt { .. }), "{error}");
        assert!(!cache.join(&published.manifest_sha256).exists());
    }

    #[tokio::test]
    async fn an_abandoned_upload_leaves_nothing_to_read() {
        let root = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::local(root.path()).unwrap();
        let mut writer = artifacts.writer("files/1").await.unwrap();
        writer.write(b"half").await.unwrap();
        writer.abort().await.unwrap();
        assert!(matches!(artifacts.read("files/1").await.map(|_| ()), Err(ArtifactError::Missing { .. })));
    }
}
