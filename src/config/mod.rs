//! Every setting, from four places: flags win over variables, those over the file that `--config` names, that over the
//! defaults. `settings` is the one list of them. What is wrong is told all at once, each with where it came from; what
//! the machine must have for them (a free port, a device, a key) is checked by `cli::preflight`.

mod database_url;
mod fault;
mod file;
mod given;
mod place;
mod reader;
mod setting;
mod settings;
mod table;
mod tasks;
mod values;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

pub use database_url::DatabaseUrl;
pub use fault::{Fault, Origin, Refusal};
pub use given::GivenSettings;
pub use reader::{Effective, Reading};
pub use setting::{Preset, Setting};
pub use settings::{SETTINGS, find};
pub use table::markdown;

use crate::{
    domain::{JobKind, Secret, ServingPrecision, TaskDefinition},
    teacher::TeacherSettings,
    telemetry::LogFormat,
};

/// The settings in force.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address of the HTTP API.
    pub listen: SocketAddr,
    /// Whether other machines may reach it while there is no API key.
    pub allow_unauthenticated: bool,
    /// Where commands that ask the service find it.
    pub url: String,
    /// What they ask it with.
    pub api_key: Option<Secret>,
    /// PostgreSQL's address; none where `up` makes its own.
    pub database_url: Option<DatabaseUrl>,
    /// Connections of one process, at most.
    pub database_connections: u32,
    /// Folder of everything that the service writes.
    pub data_dir: PathBuf,
    /// Folder of the tasks that have a file of their own.
    pub tasks_dir: Option<PathBuf>,
    /// Folder of the named students.
    pub models_dir: PathBuf,
    /// The Hugging Face Hub's address, or a mirror's.
    pub hub_endpoint: String,
    /// Folder of what was downloaded from it.
    pub hub_cache: PathBuf,
    /// What it is asked with.
    pub hub_token: Option<Secret>,
    /// Whether nothing may be asked of it.
    pub hub_offline: bool,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Processor threads of a training or of the engine.
    pub threads: usize,
    /// Arithmetic of inference.
    pub precision: ServingPrecision,
    /// Kinds of jobs that a worker takes.
    pub kinds: Vec<JobKind>,
    /// How long a worker that is asked to end may take to keep what its jobs have done.
    pub drain_for: Duration,
    /// How long a client may take nothing of its answer.
    pub max_unread: Duration,
    /// How long requests that run after the notice may take to end when the API is asked to end.
    pub requests_drain_for: Duration,
    /// How long it tells everybody before.
    pub drain_notice: Duration,
    /// Largest upload.
    pub max_upload_bytes: u64,
    /// Inputs that may wait for the engine.
    pub max_waiting: usize,
    /// Tokens that they may have.
    pub max_waiting_tokens: usize,
    /// How long they may wait for their work to begin.
    pub max_queue_time: Duration,
    /// Models kept in memory.
    pub max_models: usize,
    /// Bytes that they may take; none: a share of what there is.
    pub max_model_bytes: Option<u64>,
    /// Models and aliases that stay in memory.
    pub pinned: Vec<String>,
    /// What is logged.
    pub log: String,
    /// How it is logged.
    pub log_format: LogFormat,
    /// Whom annotation jobs may ask.
    pub teachers: Vec<TeacherSettings>,
    /// Tasks that requests may name, beside the built-in ones.
    pub tasks: Vec<TaskDefinition>,
}
