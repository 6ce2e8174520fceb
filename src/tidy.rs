//! What a process puts away on its own machine: copies of models that are no longer there, on disk and in memory, and what an
//! earlier process left half-done when it was killed. What lies in the artifact store is for workers to sweep.

use std::{path::Path, time::SystemTime};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    inference::Engine,
    registry::{Registry, RegistryError},
    survey,
};

/// Nobody works for so long on one file without writing to it, nor takes so long from an upload's bytes to its row.
pub const ABANDONED: TimeDelta = TimeDelta::days(1);

/// Removes copies of models that are half fetched or half thrown away, and half-written fingerprints in the scratch folder.
///
/// # Errors
/// The first one; each part is done even where the other fails.
pub fn remove_abandoned(registry: &Registry, scratch: &Path, now: DateTime<Utc>) -> Result<(), RegistryError> {
    let before = SystemTime::from(now - ABANDONED);
    let fingerprints = survey::remove_left(scratch, before);
    let copies = registry.remove_half_copies(before);
    let unreadable = |source| RegistryError::Unreadable { path: scratch.to_owned(), source };
    fingerprints.map_err(unreadable).and(copies)
}

/// Removes the local copies of models that are no longer there, also from memory.
pub async fn forget_removed(registry: &Registry, engine: &Engine) -> Result<(), RegistryError> {
    for key in registry.tidy_cache().await? {
        engine.forget(&key);
    }
    Ok(())
}
