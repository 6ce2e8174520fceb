//! What a process puts away on its own machine: copies of models that are no longer there, on disk and in memory, and what an
//! earlier process left half-done when it was killed. What lies in the artifact store is for workers to sweep.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    artifacts::remove_local,
    inference::Engine,
    registry::{Registry, RegistryError},
    survey,
};

/// Nobody works for so long on one file without writing to it, nor takes so long from an upload's bytes to its row.
pub const ABANDONED: TimeDelta = TimeDelta::days(1);

/// Copies of models that are half fetched or half thrown away, and half-written fingerprints in the scratch folder; and the first
/// error, since each part is looked for even where the other fails.
pub fn abandoned(registry: &Registry, scratch: &Path, now: DateTime<Utc>) -> (Vec<PathBuf>, Result<(), RegistryError>) {
    let before = SystemTime::from(now - ABANDONED);
    let unreadable = |source| RegistryError::Unreadable { path: scratch.to_owned(), source };
    let (mut found, mut looked) = (Vec::new(), Ok(()));
    for part in [survey::half_written(scratch, before).map_err(unreadable), registry.half_copies(before)] {
        match part {
            Ok(paths) => found.extend(paths),
            Err(error) => looked = looked.and(Err(error)),
        }
    }
    (found, looked)
}

/// Removes what is abandoned.
///
/// # Errors
/// The first one; everything else is removed all the same.
pub fn remove_abandoned(registry: &Registry, scratch: &Path, now: DateTime<Utc>) -> Result<(), RegistryError> {
    let (found, looked) = abandoned(registry, scratch, now);
    looked.and(remove_local(&found).map_err(RegistryError::from))
}

/// Removes the local copies of models that are no longer there, also from memory.
pub async fn forget_removed(registry: &Registry, engine: &Engine) -> Result<(), RegistryError> {
    for key in registry.tidy_cache().await? {
        engine.forget(&key);
    }
    Ok(())
}
