//! `stepwise scripted-teacher`: recorded answers behind an OpenAI-compatible server.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::{CommandError, launch};
use crate::{
    config::GivenSettings,
    shutdown,
    teacher::scripted::{self, FaultMix, Faults, Memory, ScriptedSettings},
};

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
    /// Answer a repeated Idempotency-Key from memory, and charge for it once
    #[arg(long)]
    idempotency: bool,
    /// Do things wrong, as this seed has it: one call in ten is limited, one in ten fails, and so on
    #[arg(long, value_name = "SEED")]
    faults_seed: Option<u64>,
    /// What goes wrong how often, such as "limited=0.1,hang=0.05"; of limited, failing, reset, hang, trickle, bad, twice
    #[arg(long, value_name = "MIX")]
    faults: Option<FaultMix>,
    /// Scale of a fault's time: 0.01 makes 1.2 seconds of a hang of two minutes
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = time_scale)]
    time_scale: f64,
    #[command(flatten)]
    pub given: GivenSettings,
}

impl Arguments {
    /// Either flag asks for faults; the other has its default then.
    fn faults(&self) -> Option<Faults> {
        let wanted = self.faults.is_some() || self.faults_seed.is_some();
        wanted.then(|| Faults {
            mix: self.faults.unwrap_or_default(),
            seed: self.faults_seed.unwrap_or_default(),
            scale: self.time_scale,
        })
    }
}

/// Serves until a signal; `GET /tally` says what it was asked.
pub fn run(arguments: Arguments) -> Result<(), CommandError> {
    let settings = ScriptedSettings {
        listen: arguments.listen,
        delay: Duration::from_millis(arguments.delay),
        faults: arguments.faults(),
        memory: if arguments.idempotency { Memory::ByKey } else { Memory::None },
        ..ScriptedSettings::new(arguments.answers)
    };
    launch::block_on(async { Ok(scripted::serve(settings, shutdown::on_signal()?.cancelled_owned()).await?) })
}

fn time_scale(text: &str) -> Result<f64, String> {
    let scale = text.parse().ok().filter(|scale| (0.0..=1000.0).contains(scale));
    scale.ok_or_else(|| "send a number from 0 to 1000".to_owned())
}
