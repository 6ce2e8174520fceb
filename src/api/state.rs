//! What every handler is given.

use std::{path::PathBuf, sync::Arc};

use super::{
    gate::{Access, Gate},
    metrics::ApiMetrics,
    missing::Missing,
    names::Names,
    pinned::PinnedModels,
    reports::Reports,
    warm_up,
};
use crate::{
    artifacts::Artifacts,
    clock::Clock,
    domain::{TaskDefinition, TeacherTerms},
    inference::Engine,
    registry::Registry,
    shutdown::Shutdown,
    store::Store,
};

/// The rooms and settings that the interface is built on.
#[derive(Clone)]
pub struct Rooms {
    /// Rows.
    pub store: Store,
    /// Files.
    pub artifacts: Artifacts,
    /// Models by name.
    pub registry: Registry,
    /// Students at work.
    pub engine: Engine,
    /// Names and aliases of models that stay in memory.
    pub pinned: Vec<String>,
    /// The configured teachers.
    pub teachers: Vec<TeacherTerms>,
    /// Tasks of the configuration.
    pub tasks: Vec<TaskDefinition>,
    /// Folder for what does not fit into memory while a file is looked at.
    pub scratch: PathBuf,
    /// Largest file that is taken.
    pub max_upload_bytes: u64,
    /// Time and ids.
    pub clock: Clock,
    /// Whether requests need an API key.
    pub access: Access,
    /// Cancelled when the process is about to stop.
    pub shutdown: Shutdown,
}

/// What a handler works with; cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub(super) rooms: Arc<Rooms>,
    pub(super) metrics: ApiMetrics,
    pub(super) gate: Arc<Gate>,
    pub(super) reports: Arc<Reports>,
    pub(super) names: Arc<Names>,
    pub(super) pinned_models: Arc<PinnedModels>,
    pub(super) first_pass: Arc<Missing>,
}

impl AppState {
    /// The rooms together, with fresh counters.
    pub fn new(rooms: Rooms) -> Self {
        let metrics = ApiMetrics::new();
        metrics.add_engine(&rooms.engine);
        let pinned_models = Arc::new(PinnedModels::new(&rooms.pinned));
        let first_pass = Arc::new(warm_up::first_pass());
        Self {
            rooms: Arc::new(rooms),
            metrics,
            gate: Arc::default(),
            reports: Arc::default(),
            names: Arc::default(),
            pinned_models,
            first_pass,
        }
    }
}

impl std::ops::Deref for AppState {
    type Target = Rooms;

    fn deref(&self) -> &Rooms {
        &self.rooms
    }
}
