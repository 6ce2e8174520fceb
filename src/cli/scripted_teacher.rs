//! `stepwise scripted-teacher`: recorded answers behind an OpenAI-compatible server.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::{CommandError, launch};
use crate::{config::GivenSettings, shutdown, teacher::scripted};

/// What the scripted teacher is told.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Lines {"input", "llm_output"} or {"input", "llm_outputs": [..]}
    #[arg(long, value_name = "FILE")]
    answers: PathBuf,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8089")]
    listen: SocketAddr,
    /// Time that each answer takes, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    delay: u64,
    #[command(flatten)]
    pub given: GivenSettings,
}

/// Serves until a signal.
pub fn run(arguments: Arguments) -> Result<(), CommandError> {
    let settings = scripted::ScriptedSettings {
        answers: arguments.answers,
        listen: arguments.listen,
        delay: Duration::from_millis(arguments.delay),
    };
    launch::block_on(async { Ok(scripted::serve(settings, shutdown::on_signal()?.cancelled_owned()).await?) })
}
