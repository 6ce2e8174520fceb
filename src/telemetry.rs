//! Logs: one line an event to standard error, as text for people or as JSON for machines; and errors in one line.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// What is logged unless `STEPWISE_LOG` says otherwise (`tracing`'s filter syntax, such as `debug,sqlx=warn`).
const DEFAULT_FILTER: &str = "info,sqlx=warn,hyper=warn,tokenizers=error";

/// Starts logging for this process; `STEPWISE_LOG_FORMAT=json` chooses JSON.
pub fn start() {
    let filter = EnvFilter::try_from_env("STEPWISE_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let json = std::env::var("STEPWISE_LOG_FORMAT").is_ok_and(|format| format == "json");
    let registry = tracing_subscriber::registry().with(filter);
    let result = if json {
        registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init()
    } else {
        let ansi = std::io::stderr().is_terminal();
        registry.with(fmt::layer().with_ansi(ansi).with_target(false).with_writer(std::io::stderr)).try_init()
    };
    // A second start in one process (tests) keeps the first.
    drop(result);
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
