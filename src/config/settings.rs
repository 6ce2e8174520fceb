//! The list of settings: the flags, the variables, `--help`, `stepwise settings` and the README's table are all made of
//! it, and the reader takes every value by its key here.

use super::setting::{Preset, Setting};

/// The setting of this key.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

const EVERY: &[&str] =
    &["up", "serve", "work", "fetch", "keys", "migrate", "gc", "watch", "healthcheck", "train", "scripted-teacher"];
const LOGGING: &[&str] = &["up", "serve", "work", "fetch", "keys", "migrate", "gc", "train", "scripted-teacher"];
const RUNNING: &[&str] = &["up", "serve", "work"];
const BRINGING: &[&str] = &["up", "serve", "work", "fetch"];
const SERVING: &[&str] = &["up", "serve"];
const WORKING: &[&str] = &["up", "work"];

/// The file itself; the one setting that the file cannot give.
pub const CONFIG: Setting = Setting {
    key: "config",
    value: "FILE",
    default: Preset::Nothing,
    secret: false,
    commands: EVERY,
    meaning: "TOML file with these settings, teachers and tasks",
};

/// Every other setting, in the order of the README's table.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "listen",
        value: "ADDRESS",
        default: Preset::Is("127.0.0.1:8080"),
        secret: false,
        commands: &["up", "serve", "watch", "healthcheck"],
        meaning: "address of the API",
    },
    Setting {
        key: "allow_unauthenticated",
        value: "BOOL",
        default: Preset::Is("false"),
        secret: false,
        commands: SERVING,
        meaning: "take requests without a key, as long as none was made, also on an address that other machines reach: whoever reaches the port may do everything",
    },
    Setting {
        key: "url",
        value: "URL",
        default: Preset::Found("the address of `listen`"),
        secret: false,
        commands: &["watch", "healthcheck"],
        meaning: "the service that `watch` and `healthcheck` ask",
    },
    Setting {
        key: "api_key",
        value: "KEY",
        default: Preset::Nothing,
        secret: true,
        commands: &["watch"],
        meaning: "the API key that `watch` asks with. Prefer the variable",
    },
    Setting {
        key: "database_url",
        value: "URL",
        default: Preset::Nothing,
        secret: true,
        commands: &["serve", "work", "migrate", "gc", "keys"],
        meaning: "PostgreSQL; a password may stand in it or in PGPASSWORD. `up` brings its own",
    },
    Setting {
        key: "database_connections",
        value: "N",
        default: Preset::Is("10"),
        secret: false,
        commands: &["up", "serve", "work", "migrate", "gc"],
        meaning: "connections of one process, at most; a worker has two more for its heartbeats",
    },
    Setting {
        key: "data_dir",
        value: "DIR",
        default: Preset::Is(".data"),
        secret: false,
        commands: &["up", "serve", "work", "gc", "keys"],
        meaning: "folder for artifacts, scratch files and the private database",
    },
    Setting {
        key: "models_dir",
        value: "DIR",
        default: Preset::Is("models"),
        secret: false,
        commands: RUNNING,
        meaning: "folder whose sub-folders are models in Hugging Face's layout",
    },
    Setting {
        key: "tasks_dir",
        value: "DIR",
        default: Preset::Nothing,
        secret: false,
        commands: SERVING,
        meaning: "folder whose `*.toml` files are tasks, each named like its file; an example lies in `examples/tasks`",
    },
    Setting {
        key: "hub_endpoint",
        value: "URL",
        default: Preset::Is("https://huggingface.co"),
        secret: false,
        commands: BRINGING,
        meaning: "the Hugging Face Hub, or a mirror of it",
    },
    Setting {
        key: "hub_cache",
        value: "DIR",
        default: Preset::Found(
            "`hub` in the folder of the variable `HF_HOME`, else in `huggingface` below that of `XDG_CACHE_HOME`, else below `~/.cache`",
        ),
        secret: false,
        commands: BRINGING,
        meaning: "what was downloaded from the Hub; the same folder that Python's `huggingface_hub` uses",
    },
    Setting {
        key: "hub_token",
        value: "TOKEN",
        default: Preset::Nothing,
        secret: true,
        commands: BRINGING,
        meaning: "for private and gated models; sent to `hub_endpoint` alone. Prefer the variable",
    },
    Setting {
        key: "hub_offline",
        value: "BOOL",
        default: Preset::Is("false"),
        secret: false,
        commands: BRINGING,
        meaning: "ask nothing of the Hub: what is in `hub_cache` is all there is",
    },
    Setting {
        key: "device",
        value: "DEVICE",
        default: Preset::Is("cpu"),
        secret: false,
        commands: RUNNING,
        meaning: "what trains and predicts: `cpu`, `cuda` or `cuda:N`",
    },
    Setting {
        key: "threads",
        value: "N",
        default: Preset::Found("the number of cores"),
        secret: false,
        commands: RUNNING,
        meaning: "processor threads of a training or of the inference engine",
    },
    Setting {
        key: "precision",
        value: "PRECISION",
        default: Preset::Is("auto"),
        secret: false,
        commands: RUNNING,
        meaning: "arithmetic of inference: `auto`, `bf16`, `fp32`, or `int8` for weights in eight bits on a processor with instructions for bf16",
    },
    Setting {
        key: "kinds",
        value: "KINDS",
        default: Preset::Is("annotation,distillation,evaluation"),
        secret: false,
        commands: WORKING,
        meaning: "kinds of jobs that a worker takes, separated by commas; in the file a list",
    },
    Setting {
        key: "drain_seconds",
        value: "SECONDS",
        default: Preset::Is("60"),
        secret: false,
        commands: WORKING,
        meaning: "how long a worker that is asked to end may take to keep what its jobs have done",
    },
    Setting {
        key: "max_unread_seconds",
        value: "SECONDS",
        default: Preset::Is("60"),
        secret: false,
        commands: SERVING,
        meaning: "how long a client may take nothing of its answer before the connection is cut and what the answer holds is free",
    },
    Setting {
        key: "request_drain_seconds",
        value: "SECONDS",
        default: Preset::Is("30"),
        secret: false,
        commands: SERVING,
        meaning: "how long requests that run then may take to end, after the notice, when the API is asked to end",
    },
    Setting {
        key: "drain_notice_seconds",
        value: "SECONDS",
        default: Preset::Found("5, or 0 where `listen` is an address of this machine alone"),
        secret: false,
        commands: SERVING,
        meaning: "how long the API that is asked to end tells everybody, by 503 and `connection: close`, and cuts nobody off, so that load balancers notice",
    },
    Setting {
        key: "max_upload_bytes",
        value: "BYTES",
        default: Preset::Is("1073741824"),
        secret: false,
        commands: SERVING,
        meaning: "largest file that can be uploaded",
    },
    Setting {
        key: "max_waiting",
        value: "N",
        default: Preset::Is("1024"),
        secret: false,
        commands: RUNNING,
        meaning: "prediction inputs that may wait for the engine before it answers 429",
    },
    Setting {
        key: "max_waiting_tokens",
        value: "N",
        default: Preset::Is("1048576"),
        secret: false,
        commands: RUNNING,
        meaning: "their tokens, counted as one a byte of text and as no more than the model reads",
    },
    Setting {
        key: "max_queue_seconds",
        value: "SECONDS",
        default: Preset::Is("60"),
        secret: false,
        commands: RUNNING,
        meaning: "how long a prediction may wait for its work to begin before it is answered 503",
    },
    Setting {
        key: "max_models",
        value: "N",
        default: Preset::Is("32"),
        secret: false,
        commands: RUNNING,
        meaning: "models kept in memory at once; past it, the least recently used one goes",
    },
    Setting {
        key: "max_model_bytes",
        value: "BYTES",
        default: Preset::Found("half of the memory that the process may have; on a GPU no bound"),
        secret: false,
        commands: RUNNING,
        meaning: "memory that they may take together; past it, the least recently used ones go",
    },
    Setting {
        key: "pinned",
        value: "MODELS",
        default: Preset::Nothing,
        secret: false,
        commands: SERVING,
        meaning: "models and aliases that are in memory before the service is ready, and stay; separated by commas, in the file a list",
    },
    Setting {
        key: "log",
        value: "FILTER",
        default: Preset::Is(crate::telemetry::DEFAULT_FILTER),
        secret: false,
        commands: LOGGING,
        meaning: "what is logged, in `tracing`'s syntax, such as `debug,sqlx=warn`",
    },
    Setting {
        key: "log_format",
        value: "FORMAT",
        default: Preset::Is("text"),
        secret: false,
        commands: LOGGING,
        meaning: "`text` for people or `json` for machines",
    },
];

/// What the file alone can give, because it is a list of tables.
pub const LISTS: [[&str; 2]; 2] = [
    ["teachers", "`[[teachers]]`: whom annotation jobs may ask; its keys are below"],
    ["tasks", "`[[tasks]]`: tasks that requests may name, with the fields of `TaskDefinition` in `openapi.yaml`"],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique() {
        let mut keys: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), SETTINGS.len());
    }
}
