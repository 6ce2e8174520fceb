//! Logs: one line an event to standard error, as text for people or as JSON for machines; and errors in one line.

use std::{io::IsTerminal, sync::OnceLock};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// What is logged unless the setting `log` says otherwise (`tracing`'s filter syntax, such as `debug,sqlx=warn`).
pub const DEFAULT_FILTER: &str = "info,sqlx=warn,hyper=warn,tokenizers=error";

/// What this process logs, since its start.
static IN_FORCE: OnceLock<(String, LogFormat)> = OnceLock::new();

/// The form of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Whether a filter can be used.
///
/// # Errors
/// What is wrong with it.
pub fn check_filter(filter: &str) -> Result<(), String> {
    EnvFilter::try_new(filter).map(drop).map_err(|error| error.to_string())
}

/// Starts logging for this process. A filter that cannot be used is the default one: it was refused before.
pub fn start(filter: &str, format: LogFormat) {
    let events = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let registry = tracing_subscriber::registry().with(events);
    let result = match format {
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init(),
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal();
            registry.with(fmt::layer().with_ansi(ansi).with_target(false).with_writer(std::io::stderr)).try_init()
        }
    };
    // A second start in one process (tests) keeps the first.
    if result.is_ok() {
        drop(IN_FORCE.set((filter.to_owned(), format)));
    }
}

/// The variables with which another process logs as this one does, wherever this one's settings came from.
pub fn environment() -> Vec<(&'static str, String)> {
    let variables = |(filter, format): &(String, LogFormat)| {
        let format = match format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        vec![("STEPWISE_LOG", filter.clone()), ("STEPWISE_LOG_FORMAT", format.to_owned())]
    };
    IN_FORCE.get().map(variables).unwrap_or_default()
}

/// An error with everything that caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
