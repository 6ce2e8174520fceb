//! What killed processes leave on disk and nobody needs any more.
//!
//! | what | goes when |
//! |---|---|
//! | `scratch/{job}-e{epoch}` | the job does not run under that epoch, and for an hour nothing came into the folder |
//! | half-fetched models, half-written fingerprints, staged uploads | nobody has written to it for a day |
//! | `files/…`, `jobs/{job}/e{epoch}/…` in the artifact store | it was written a day ago, no row refers to it, and the job does not run under that epoch |
//!
//! Each part is done even where another fails, and every file by itself.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Worker, attempt_folder, orphans::orphans};
use crate::{
    artifacts::{Artifacts, remove_local, untouched_since},
    registry::{Registry, RegistryError},
    store::Store,
    telemetry::chain,
    tidy::{ABANDONED, abandoned},
};

/// An attempt that has lost its lease stops within minutes.
const ATTEMPT_OVER: TimeDelta = TimeDelta::hours(1);

/// Where leftovers are looked for.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// Knows what is referred to.
    pub store: &'a Store,
    /// What workers and uploads store.
    pub artifacts: &'a Artifacts,
    /// Has copies of models on this machine.
    pub registry: &'a Registry,
    /// The folder that attempts work in.
    pub scratch: &'a Path,
    /// What is young at this moment stays.
    pub now: DateTime<Utc>,
}

/// Something that nobody needs any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    what: What,
    /// How much it takes.
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// A file or folder on this machine.
    Local(PathBuf),
    /// The keys of one file or folder in the artifact store.
    Stored { place: String, keys: Vec<String> },
}

/// What was found, and the first error: each part is looked for even where another fails.
#[derive(Debug)]
pub struct Found {
    /// All that was found.
    pub leftovers: Vec<Leftover>,
    /// Whether everything could be looked at.
    pub looked: Result<(), RegistryError>,
}

/// Removes what can be removed now.
///
/// # Errors
/// The first one.
pub async fn remove_leftovers(worker: &Worker) -> Result<(), RegistryError> {
    let (store, artifacts, registry) = (&worker.store, &worker.artifacts, &worker.registry);
    let places = Places { store, artifacts, registry, scratch: &worker.scratch, now: worker.clock.now() };
    let found = find_leftovers(places).await;
    let mut removed = found.looked;
    for leftover in &found.leftovers {
        tracing::info!(%leftover, bytes = leftover.bytes, "removing what nobody needs any more");
        removed = removed.and(leftover.remove(artifacts).await);
    }
    removed
}

/// What can be removed now. Touches nothing, but that artifacts without an owner become this database's.
pub async fn find_leftovers(places: Places<'_>) -> Found {
    let before = places.now - ABANDONED;
    let mut found = Found { leftovers: Vec::new(), looked: Ok(()) };
    found.add_local(attempt_folders(places, SystemTime::from(places.now - ATTEMPT_OVER)).await);
    let (paths, looked) = abandoned(places.registry, places.scratch, places.now);
    found.add_local(Ok(paths));
    found.add_local(looked.map(|()| Vec::new()));
    found.add_local(places.artifacts.staged(before.into()).await.map_err(RegistryError::from));
    match orphans(places, before).await {
        Ok(orphans) => found.leftovers.extend(orphans),
        Err(error) => found.fail(error),
    }
    found
}

impl Found {
    fn add_local(&mut self, paths: Result<Vec<PathBuf>, RegistryError>) {
        match paths {
            Ok(paths) => self.leftovers.extend(paths.into_iter().map(Leftover::local)),
            Err(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: RegistryError) {
        if self.looked.is_ok() {
            self.looked = Err(error);
        }
    }
}

impl Leftover {
    fn local(path: PathBuf) -> Self {
        Self { bytes: size(&path), what: What::Local(path) }
    }

    /// The files of one place in the artifact store.
    pub(super) fn stored(place: String, keys: Vec<String>, bytes: u64) -> Self {
        Self { bytes, what: What::Stored { place, keys } }
    }

    /// Removes it; what is gone already is no error.
    ///
    /// # Errors
    /// The first one; all else of it is removed.
    pub async fn remove(&self, artifacts: &Artifacts) -> Result<(), RegistryError> {
        let keys = match &self.what {
            What::Local(path) => return Ok(remove_local(std::slice::from_ref(path))?),
            What::Stored { keys, .. } => keys,
        };
        let mut removed = Ok(());
        for key in keys {
            if let Err(error) = artifacts.delete(key).await {
                tracing::warn!(error = %chain(&error), key, "what no row refers to stays for now");
                removed = removed.and(Err(error));
            }
        }
        Ok(removed?)
    }
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Local(path) => write!(f, "{}", path.display()),
            What::Stored { place, .. } => write!(f, "artifacts/{place}"),
        }
    }
}

/// The size of a file, or of all files in a folder; what cannot be looked at counts nothing.
fn size(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size(&entry.path())).sum()
}

async fn attempt_folders(places: Places<'_>, before: SystemTime) -> Result<Vec<PathBuf>, RegistryError> {
    let unreadable = |source| RegistryError::Unreadable { path: places.scratch.to_owned(), source };
    let entries = untouched_since(places.scratch, before).map_err(unreadable)?;
    let folders: Vec<_> = entries
        .into_iter()
        .filter_map(|(name, path)| attempt_folder::lease_of(&name).map(|lease| (lease, path)))
        .collect();
    let leases: Vec<_> = folders.iter().map(|(lease, _)| *lease).collect();
    let held = places.store.held(&leases).await?;
    Ok(folders.into_iter().filter(|(lease, _)| !held.contains(lease)).map(|(_, path)| path).collect())
}
