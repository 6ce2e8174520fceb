//! The files of models that were taken away: out of the artifact store, and out of this machine's cache.
//!
//! The row goes first (`store::model_removal`), the files second, the note that they are gone last. A crash in between
//! leaves files that the next sweep of any process removes.

use std::{collections::HashSet, fs, io, path::PathBuf, time::SystemTime};

use super::{Registry, RegistryError};
use crate::{
    artifacts::{discard_copy, half_copies},
    store::Removed,
};

/// Removed models looked at in one statement.
const SWEEP: u32 = 100;

impl Registry {
    /// Removes the files of models and checkpoints that were taken away. Several processes may do it at once.
    ///
    /// # Errors
    /// The first one; where some files cannot be removed, those of the others are all the same.
    pub async fn sweep(&self) -> Result<(), RegistryError> {
        let (mut after, mut swept) = (None, Ok(()));
        loop {
            let page = self.store.unpurged(after, SWEEP).await?;
            let Some(last) = page.last() else { return swept };
            after = Some(last.id);
            for removed in &page {
                if let Err(error) = self.purge(removed).await {
                    tracing::warn!(
                        ?error,
                        prefix = removed.artifact_prefix,
                        "the files of a deleted model stay for now"
                    );
                    swept = swept.and(Err(error));
                }
            }
        }
    }

    /// Local copies that were never wholly fetched, or never wholly thrown away, and that nobody has touched since.
    pub fn half_copies(&self, before: SystemTime) -> Result<Vec<PathBuf>, RegistryError> {
        Ok(half_copies(&self.cache_dir, before)?)
    }

    /// Removes the files of one model or checkpoint that was taken away, and notes that they are gone. Idempotent.
    pub async fn purge(&self, removed: &Removed) -> Result<(), RegistryError> {
        self.artifacts.delete_directory(&removed.artifact_prefix).await?;
        self.store.purged(removed).await?;
        tracing::info!(kind = ?removed.kind, prefix = removed.artifact_prefix, "removed the files of a deleted model");
        Ok(())
    }

    /// Removes the local copies of models that are no longer there, and returns their keys: whoever has loaded one may put
    /// it away. A model that is there again is fetched again.
    pub async fn tidy_cache(&self) -> Result<Vec<String>, RegistryError> {
        let cached = self.cached()?;
        if cached.is_empty() {
            return Ok(Vec::new());
        }
        let live: HashSet<String> = self.store.live_manifests(&cached).await?.into_iter().collect();
        let dead: Vec<String> = cached.into_iter().filter(|digest| !live.contains(digest)).collect();
        for digest in &dead {
            discard_copy(&self.cache_dir.join(digest)).await?;
        }
        Ok(dead)
    }

    /// Digests that have a folder in the cache.
    fn cached(&self) -> Result<Vec<String>, RegistryError> {
        let entries = match fs::read_dir(&self.cache_dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(RegistryError::Unreadable { path: self.cache_dir.clone(), source }),
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter(|name| is_digest(name)).collect())
    }
}

/// A copy that is still being fetched has another name.
fn is_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}
