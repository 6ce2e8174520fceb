//! Models of the Hugging Face Hub by id: what this machine has of them, and bringing what it lacks. Knows no jobs, no models
//! of this service and no tensors.
//!
//! ```text
//! id ─▶ GET  /api/models/{id}/revision/{revision}     the commit, and which files it has      (files.rs chooses)
//!       HEAD /{id}/resolve/{commit}/{file}            its digest and size, for each file      (remote.rs, journey.rs)
//!       GET  … Range: bytes=N- ─▶ redirect ─▶ CDN     blobs/{digest}.incomplete               (download.rs)
//!       size and sha256 are right                     blobs/{digest}, by rename, durable
//!       snapshots/{commit}/{file} ─▶ ../../blobs/{digest}      when all are there: refs/{revision}  (cache.rs)
//! ```
//!
//! The cache is the Hub's own (`models--owner--name/{blobs,refs,snapshots}`), with its locks: what Python's `huggingface_hub`
//! has brought is used as it is, and the other way round; both may bring the same file at once. A name below `blobs` or
//! `snapshots` implies a whole file. A cut connection, a full disk or a killed process leaves an `.incomplete`, which the next
//! download goes on with; what passes (timeouts, 429, 5xx) is tried again first, more slowly each time. A commit's files never
//! change, so one that is whole here is used without a question to anybody.
//!
//! The token goes to the endpoint alone: redirects are followed by hand, and another host gets none. The crate `hf-hub` does
//! the same with some 230 crates, a second HTTP client among them, to write and list as well; this is reading alone, on the
//! client that the teachers use.

mod cache;
mod download;
mod error;
mod fetch;
mod files;
mod incomplete;
mod journey;
mod lock;
mod refusal;
mod remote;
mod settings;

use std::sync::Arc;

use tokio::sync::watch;

pub use cache::Snapshot;
pub use error::HubError;
pub use settings::HubSettings;

use self::{cache::Cache, remote::Remote};
use crate::{
    clock::Clock,
    domain::{HubCommit, HubId},
};

/// The Hub and this machine's cache of it; cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub {
    cache: Cache,
    remote: Arc<Remote>,
}

/// How far a download is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The commit whose files come.
    pub commit: HubCommit,
    /// Files that come.
    pub files: usize,
    /// Bytes of these files.
    pub total_bytes: u64,
    /// Bytes of them that are here; what an earlier download left counts.
    pub done_bytes: u64,
    /// Bytes that have come over the network.
    pub received_bytes: u64,
}

/// Where a download says how far it is; nothing where there is nothing to bring.
pub type Progress = watch::Sender<Option<Transfer>>;

impl Hub {
    /// The Hub by these settings. Nothing is asked yet.
    pub fn new(settings: HubSettings, clock: Clock) -> Self {
        Self { cache: Cache::new(settings.cache.clone()), remote: Arc::new(Remote::new(settings, clock)) }
    }

    /// Its settings.
    pub fn settings(&self) -> &HubSettings {
        &self.remote.settings
    }

    /// The model's files where all that it needs is on this machine, by what its revision meant when it was last brought.
    pub fn cached(&self, id: &HubId) -> Option<Snapshot> {
        self.cache.snapshot(id)
    }

    /// Every T5 that is whole on this machine, by id: each revision that was brought by its name, `main` first, and commits
    /// that no revision here means any more.
    pub fn models(&self) -> Vec<Snapshot> {
        self.cache.models()
    }

    /// The model's files, brought where this machine lacks any of them.
    ///
    /// # Errors
    /// [`HubError::is_passing`] tells whether another try may do better.
    pub async fn fetch(&self, id: &HubId, progress: &Progress) -> Result<Snapshot, HubError> {
        fetch::fetch(self, id, progress).await
    }
}
