//! A worker in the test's own process, on the rooms of its API.

use std::{path::PathBuf, sync::Arc};

use stepwise::{
    domain::JobKind,
    shutdown::Shutdown,
    worker::{Worker, work_once},
};
use tokio::sync::Notify;

use super::{
    app::TestApp,
    seed::{long_terms, new_worker},
    service::BINARY,
};

impl TestApp {
    /// A worker that takes every kind of job and knows no teacher.
    pub fn worker(&self) -> Arc<Worker> {
        let rooms = self.rooms.clone();
        Arc::new(Worker {
            id: new_worker(),
            store: rooms.store.clone(),
            beat_store: rooms.store,
            artifacts: rooms.artifacts,
            registry: rooms.registry,
            engine: rooms.engine,
            teachers: Vec::new(),
            kinds: JobKind::ALL.to_vec(),
            scratch: self.models_dir.with_file_name("scratch"),
            program: PathBuf::from(BINARY),
            device: "cpu".to_owned(),
            threads: 1,
            terms: long_terms(),
            drain_for: std::time::Duration::from_secs(60),
            poll: std::time::Duration::from_secs(1),
            clock: rooms.clock,
            wake: Arc::new(Notify::new()),
        })
    }

    /// Works on the next job of a kind until that attempt ends.
    pub async fn work_on(&self, kind: JobKind) {
        assert!(work_once(&self.worker(), &[kind], &Shutdown::new()).await.unwrap(), "no {kind} job is waiting");
    }
}
