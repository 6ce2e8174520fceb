//! What `up`, `serve` and `work` share: a runtime, a store with its schema, artifacts, the engine, the API, the worker.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::Notify};

use super::{CommandError, preflight};
use crate::{
    api::{self, Access, Drain},
    artifacts::Artifacts,
    clock::Clock,
    config::{GivenSettings, Settings},
    device,
    domain::{JobKind, LeaseTerms, WorkerId},
    hub::{Hub, HubSettings},
    inference::{Engine, EngineSettings},
    machine,
    registry::Registry,
    shutdown::Shutdown,
    store::{Store, StoreError},
    teacher::{TeacherClient, TeacherError, TeacherSettings, pace::PaceBook},
    telemetry,
    worker::{self, PaceRows, Worker},
};

/// Prediction requests batched together.
const MAX_BATCH: usize = 32;
/// Connections for beats alone, beside those of the settings.
const BEAT_CONNECTIONS: u32 = 2;
/// Time between looks into the queue when no notification comes.
const POLL: Duration = Duration::from_secs(2);

/// The parts that one process is made of.
pub struct Parts {
    pub settings: Settings,
    pub database_url: String,
    pub store: Store,
    pub artifacts: Artifacts,
    pub registry: Registry,
    pub engine: Engine,
    pub clock: Clock,
}

/// Rows, artifacts, and models by name.
pub struct Shelves {
    pub store: Store,
    pub artifacts: Artifacts,
    pub registry: Registry,
}

impl Shelves {
    /// Opens them; the database need not answer yet.
    pub fn open(settings: &Settings, database_url: &str) -> Result<Self, CommandError> {
        let store = Store::connect_lazy(database_url, settings.database_connections)?;
        let artifacts = Artifacts::local(&settings.data_dir.join("artifacts"))?;
        let cache = settings.data_dir.join("cache").join("models");
        let models_dir = settings.models_dir.clone();
        let registry = Registry::new(store.clone(), artifacts.clone(), models_dir, cache, hub(settings)?);
        Ok(Self { store, artifacts, registry })
    }
}

impl Parts {
    /// Builds the parts; the database need not answer yet.
    pub fn assemble(settings: Settings, database_url: String) -> Result<Self, CommandError> {
        device::parse(&settings.device)?;
        std::fs::create_dir_all(&settings.data_dir)
            .map_err(|error| format!("cannot make the data directory {}: {error}", settings.data_dir.display()))?;
        let Shelves { store, artifacts, registry } = Shelves::open(&settings, &database_url)?;
        let engine = Engine::start(EngineSettings {
            device: settings.device.clone(),
            threads: settings.threads,
            precision: settings.precision,
            max_waiting: settings.max_waiting,
            max_waiting_tokens: settings.max_waiting_tokens,
            max_queue_time: settings.max_queue_time,
            max_batch: MAX_BATCH,
            max_models: settings.max_models,
            max_model_bytes: settings.max_model_bytes.or_else(|| memory_for_models(&settings.device)),
        })?;
        Ok(Self { settings, database_url, store, artifacts, registry, engine, clock: Clock::system() })
    }

    /// Serves the API until shutdown, then drains it.
    pub async fn serve(&self, shutdown: &Shutdown) -> Result<(), CommandError> {
        let listen = self.settings.listen;
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            format!("cannot listen on {listen}: {error}; is another stepwise running? choose an address with --listen")
        })?;
        tracing::info!("listening on http://{}", listener.local_addr()?);
        let state = api::AppState::new(api::Rooms {
            store: self.store.clone(),
            artifacts: self.artifacts.clone(),
            registry: self.registry.clone(),
            engine: self.engine.clone(),
            pinned: self.settings.pinned.clone(),
            teachers: self.settings.teachers.iter().map(TeacherSettings::terms).collect(),
            tasks: self.settings.tasks.clone(),
            scratch: self.settings.data_dir.join("scratch"),
            max_upload_bytes: self.settings.max_upload_bytes,
            clock: self.clock.clone(),
            access: self.access(),
            shutdown: shutdown.clone(),
        });
        let warm_up = tokio::spawn(api::warm_up(state.clone()));
        let tidy = tokio::spawn(api::tidy(state.clone()));
        let pinned = tokio::spawn(api::keep_pinned(state.clone()));
        let drain = Drain { notice: self.settings.drain_notice, limit: self.settings.requests_drain_for };
        api::serve(listener, state, self.settings.max_unread, drain).await;
        warm_up.abort();
        tidy.abort();
        pinned.abort();
        Ok(())
    }

    /// Whether requests need a key. An address that other machines reach is no place for requests without one, unless somebody
    /// says so; keys that were made are asked for anyway.
    fn access(&self) -> Access {
        let is_open = self.settings.allow_unauthenticated || self.settings.listen.ip().is_loopback();
        if is_open { Access::KeysOnceMade } else { Access::Keys }
    }

    /// Ends a service that other machines could reach and nobody could use.
    ///
    /// # Errors
    /// Says how to make the first key. The schema must be there.
    pub async fn refuse_without_keys(&self) -> Result<(), CommandError> {
        if self.access() != Access::Keys || self.store.has_api_keys().await? {
            return Ok(());
        }
        let listen = self.settings.listen;
        Err(format!(
            "{listen} can be reached from other machines, and there is no API key yet; make one with `stepwise keys create`, \
             listen on 127.0.0.1, or accept requests without keys until there is one with --allow-unauthenticated \
             (STEPWISE_ALLOW_UNAUTHENTICATED=true)"
        )
        .into())
    }

    /// Works until shutdown, then gives its jobs back.
    pub async fn work(&self, shutdown: &Shutdown) -> Result<(), CommandError> {
        let scratch = self.settings.data_dir.join("scratch");
        std::fs::create_dir_all(&scratch)?;
        let id = WorkerId(self.clock.new_id());
        let worker = Worker {
            id,
            store: self.store.clone(),
            beat_store: Store::connect_lazy(&self.database_url, BEAT_CONNECTIONS)?,
            artifacts: self.artifacts.clone(),
            registry: self.registry.clone(),
            engine: self.engine.clone(),
            teachers: self.teachers(id)?,
            kinds: self.settings.kinds.clone(),
            scratch,
            program: std::env::current_exe()?,
            device: self.settings.device.clone(),
            threads: self.settings.threads,
            terms: LeaseTerms::default(),
            drain_for: self.settings.drain_for,
            poll: POLL,
            clock: self.clock.clone(),
            wake: Arc::new(Notify::new()),
        };
        tracing::info!(worker = %worker.id, device = worker.device, threads = worker.threads, "working");
        worker::run(Arc::new(worker), &self.database_url, shutdown).await;
        Ok(())
    }

    /// Whom this worker may ask, at the pace of all workers; nobody where it takes no annotations, so that it needs no keys.
    fn teachers(&self, worker: WorkerId) -> Result<Vec<TeacherClient>, TeacherError> {
        let asks = self.settings.kinds.contains(&JobKind::Annotation);
        let rows: Arc<dyn PaceBook> = Arc::new(PaceRows { store: self.store.clone(), worker });
        let teachers = self.settings.teachers.iter().filter(|_| asks).cloned();
        teachers.map(|teacher| Ok(TeacherClient::new(teacher)?.at_the_pace_of(Arc::clone(&rows)))).collect()
    }

    /// Waits for the database and brings its schema up to date; says what it waits for.
    ///
    /// # Errors
    /// When the database answers, but not to us: a wrong password will not mend itself. And when others keep tables in use that a
    /// migration changes.
    pub async fn migrate(&self, shutdown: &Shutdown) -> Result<(), StoreError> {
        let mut pause = Duration::from_millis(500);
        loop {
            let migrated = tokio::select! {
                migrated = self.store.migrate() => migrated,
                // Its connection is its own: the server takes back what was begun.
                () = shutdown.cancelled() => return Ok(()),
            };
            match migrated {
                Err(error) if error.is_unavailable() => {
                    tracing::warn!(error = %telemetry::chain(&error), "the database does not answer; trying again in {pause:?}");
                }
                result => return result,
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }
}

/// Bytes that models may take where nobody says: half of what the process may have, since a training and the file cache want
/// some. A GPU's memory is not known here.
fn memory_for_models(device: &str) -> Option<u64> {
    machine::memory_bytes().filter(|_| device == "cpu").map(|bytes| bytes / 2)
}

/// `stepwise migrate`.
pub fn migrate(given: &GivenSettings) -> Result<(), CommandError> {
    let settings = preflight::settings_for("migrate", given)?;
    let url = database_url(&settings);
    block_on(async {
        Store::connect(&url, settings.database_connections).await?.migrate().await?;
        tracing::info!("the schema is up to date");
        Ok(())
    })
}

/// The Hub as the settings have it. Nothing is asked of it yet.
pub fn hub(settings: &Settings) -> Result<Hub, CommandError> {
    let hub = HubSettings::new(&settings.hub_endpoint, settings.hub_cache.clone())?;
    let hub = HubSettings { token: settings.hub_token.clone(), offline: settings.hub_offline, ..hub };
    Ok(Hub::new(hub, Clock::system()))
}

/// The database's address, which commands that cannot do without are refused without.
pub fn database_url(settings: &Settings) -> String {
    settings.database_url.as_ref().expect("preflight refuses a command that needs it and has none").reveal().to_owned()
}

/// Runs a command's future on a runtime of its own.
pub fn block_on(command: impl Future<Output = Result<(), CommandError>>) -> Result<(), CommandError> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}
