//! Every setting, from four places: flags win over `STEPWISE_…` variables, those over the file that `--config` names,
//! that over the defaults. One struct is both the flags and the file, so that no setting can be forgotten in one.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use serde::Deserialize;

use crate::{
    domain::{JobKind, Precision, TaskDefinition},
    teacher::TeacherSettings,
};

/// A setting that cannot be used, with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path:?}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration {path:?} is wrong: {message}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The place and what would be right.
        message: String,
    },
    /// A setting has a value that cannot be used.
    #[error("{setting}: {message}")]
    Wrong {
        /// The setting.
        setting: &'static str,
        /// What is wrong and what would be right.
        message: String,
    },
}

/// The settings as given; whatever is left out takes its default.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GivenSettings {
    /// Configuration file (TOML) with these same settings, teachers and tasks
    #[arg(long, env = "STEPWISE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:8080]
    #[arg(long, env = "STEPWISE_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Folder for artifacts, scratch files and the private database [default: .data]
    #[arg(long, env = "STEPWISE_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Folder whose sub-folders are models in Hugging Face's layout [default: models]
    #[arg(long, env = "STEPWISE_MODELS_DIR", value_name = "DIR")]
    models_dir: Option<PathBuf>,
    /// PostgreSQL's URL, for serve and work; up makes its own database
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Database connections of one process, at most [default: 10]
    #[arg(long, env = "STEPWISE_DATABASE_CONNECTIONS", value_name = "N")]
    database_connections: Option<u32>,
    /// Device to train and to predict on: cpu or cuda:N [default: cpu]
    #[arg(long, env = "STEPWISE_DEVICE", value_name = "DEVICE")]
    device: Option<String>,
    /// Processor threads of a training or of the inference engine [default: the number of cores]
    #[arg(long, env = "STEPWISE_THREADS", value_name = "N")]
    threads: Option<usize>,
    /// Arithmetic of inference: auto, bf16 or fp32 [default: auto]
    #[arg(long, env = "STEPWISE_PRECISION", value_name = "PRECISION", value_parser = parse_precision)]
    precision: Option<Precision>,
    /// Kinds of jobs that this worker takes, separated by commas [default: all]
    #[arg(long, env = "STEPWISE_KINDS", value_name = "KINDS", value_delimiter = ',')]
    kinds: Option<Vec<JobKind>>,
    /// Seconds that a worker which is asked to end may take to keep what its jobs have done [default: 60]
    #[arg(long, env = "STEPWISE_DRAIN_SECONDS", value_name = "SECONDS")]
    drain_seconds: Option<u64>,
    /// Largest file that can be uploaded, in bytes [default: 1073741824]
    #[arg(long, env = "STEPWISE_MAX_UPLOAD_BYTES", value_name = "BYTES")]
    max_upload_bytes: Option<u64>,
    /// Prediction inputs that may wait for the engine before it answers 429 [default: 1024]
    #[arg(long, env = "STEPWISE_MAX_WAITING", value_name = "N")]
    max_waiting: Option<usize>,
    /// Models kept in memory at once [default: 4]
    #[arg(long, env = "STEPWISE_MAX_MODELS", value_name = "N")]
    max_models: Option<usize>,
    /// Listen on other addresses than this machine's own, without any authentication
    #[arg(long, env = "STEPWISE_ALLOW_UNAUTHENTICATED", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    allow_unauthenticated: Option<bool>,
    #[arg(skip)]
    teachers: Vec<TeacherSettings>,
    #[arg(skip)]
    tasks: Vec<TaskDefinition>,
}

/// The settings in force.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address of the HTTP API.
    pub listen: SocketAddr,
    /// Folder of everything that the service writes.
    pub data_dir: PathBuf,
    /// Folder of the named students.
    pub models_dir: PathBuf,
    /// PostgreSQL's URL; none where `up` makes its own.
    pub database_url: Option<String>,
    /// Connections of one process, at most.
    pub database_connections: u32,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Processor threads of a training or of the engine.
    pub threads: usize,
    /// Arithmetic of inference.
    pub precision: Precision,
    /// Kinds of jobs that a worker takes.
    pub kinds: Vec<JobKind>,
    /// How long a worker that is asked to end may take to keep what its jobs have done.
    pub drain_for: Duration,
    /// Largest upload.
    pub max_upload_bytes: u64,
    /// Inputs that may wait for the engine.
    pub max_waiting: usize,
    /// Models kept in memory.
    pub max_models: usize,
    /// Whom annotation jobs may ask.
    pub teachers: Vec<TeacherSettings>,
    /// Tasks that requests may name, beside the built-in ones.
    pub tasks: Vec<TaskDefinition>,
}

impl GivenSettings {
    /// Reads the file, lays flags and variables over it and checks the whole.
    pub fn resolve(self) -> Result<Settings, ConfigError> {
        let file = self.file()?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let listen = self.listen.or(file.listen).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080)));
        let allow_unauthenticated = self.allow_unauthenticated.or(file.allow_unauthenticated).unwrap_or(false);
        refuse_open_door(listen.ip(), allow_unauthenticated)?;
        let settings = Settings {
            listen,
            data_dir: absolute("data_dir", self.data_dir.or(file.data_dir).unwrap_or_else(|| ".data".into()))?,
            models_dir: absolute("models_dir", self.models_dir.or(file.models_dir).unwrap_or_else(|| "models".into()))?,
            database_url: self.database_url.or(file.database_url),
            database_connections: self.database_connections.or(file.database_connections).unwrap_or(10),
            device: self.device.or(file.device).unwrap_or_else(|| "cpu".to_owned()),
            threads: self.threads.or(file.threads).unwrap_or(cores),
            precision: self.precision.or(file.precision).unwrap_or(Precision::Auto),
            kinds: self.kinds.or(file.kinds).unwrap_or_else(|| JobKind::ALL.to_vec()),
            drain_for: Duration::from_secs(self.drain_seconds.or(file.drain_seconds).unwrap_or(60)),
            max_upload_bytes: self.max_upload_bytes.or(file.max_upload_bytes).unwrap_or(1 << 30),
            max_waiting: self.max_waiting.or(file.max_waiting).unwrap_or(1024),
            max_models: self.max_models.or(file.max_models).unwrap_or(4),
            teachers: file.teachers,
            tasks: file.tasks,
        };
        settings.check()?;
        Ok(settings)
    }

    fn file(&self) -> Result<Self, ConfigError> {
        let Some(path) = self.config.clone() else { return Ok(Self::default()) };
        let text =
            fs::read_to_string(&path).map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
        toml::from_str(&text).map_err(|error| ConfigError::Malformed { path, message: error.to_string() })
    }
}

impl Settings {
    fn check(&self) -> Result<(), ConfigError> {
        for (setting, value) in [
            ("threads", self.threads),
            ("max_waiting", self.max_waiting),
            ("max_models", self.max_models),
            ("kinds", self.kinds.len()),
        ] {
            if value == 0 {
                return wrong(setting, "must be at least 1");
            }
        }
        if self.database_connections < 2 {
            return wrong(
                "database_connections",
                "must be at least 2, so that the API and a worker do not wait for each other",
            );
        }
        if let Some(name) = repeated(self.teachers.iter().map(|teacher| teacher.name.as_str())) {
            return wrong("teachers", format!("{name:?} is defined twice; each teacher needs a name of its own"));
        }
        if let Some(name) = repeated(self.tasks.iter().map(|task| task.name.as_str())) {
            return wrong("tasks", format!("{name:?} is defined twice; each task needs a name of its own"));
        }
        Ok(())
    }
}

/// There are no API keys yet, so whoever reaches the port may do everything.
fn refuse_open_door(ip: IpAddr, allowed: bool) -> Result<(), ConfigError> {
    if ip.is_loopback() || allowed {
        return Ok(());
    }
    wrong(
        "listen",
        format!(
            "{ip} can be reached from other machines, and requests are not authenticated; listen on 127.0.0.1, or accept this with --allow-unauthenticated"
        ),
    )
}

fn absolute(setting: &'static str, path: PathBuf) -> Result<PathBuf, ConfigError> {
    std::path::absolute(&path).or_else(|error| wrong(setting, format!("{path:?}: {error}")))
}

fn repeated<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

fn wrong<T>(setting: &'static str, message: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Wrong { setting, message: message.into() })
}

fn parse_precision(name: &str) -> Result<Precision, String> {
    serde_json::from_value(serde_json::Value::from(name)).map_err(|_| "use auto, bf16 or fp32".to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn from_file(text: &str) -> GivenSettings {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let (_, path) = file.keep().unwrap();
        GivenSettings { config: Some(path), ..GivenSettings::default() }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let mut given = from_file("threads = 3\nmax_models = 7\n");
        given.threads = Some(5);
        let settings = given.resolve().unwrap();
        assert_eq!((settings.threads, settings.max_models, settings.max_waiting), (5, 7, 1024));
    }

    #[test]
    fn an_unknown_setting_is_refused_by_name() {
        let error = from_file("treads = 3\n").resolve().unwrap_err().to_string();
        assert!(error.contains("unknown field `treads`") && error.contains("`threads`"), "{error}");
    }

    #[test]
    fn an_open_address_needs_consent() {
        let error = from_file("listen = \"0.0.0.0:80\"\n").resolve().unwrap_err().to_string();
        assert!(error.contains("--allow-unauthenticated"), "{error}");
        assert!(from_file("listen = \"0.0.0.0:80\"\nallow_unauthenticated = true\n").resolve().is_ok());
    }

    #[test]
    fn too_few_connections_are_refused_with_the_reason() {
        let error = from_file("database_connections = 1\n").resolve().unwrap_err().to_string();
        assert!(error.contains("at least 2"), "{error}");
    }
}
