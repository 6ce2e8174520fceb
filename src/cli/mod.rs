//! The command line: a file a command. It puts the rooms together and knows nothing that they could know.

mod doctor;
mod launch;
mod openapi;
mod scripted_teacher;
mod serve;
mod train;
mod up;
mod work;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::config::{ConfigError, GivenSettings};

/// Turns unlabeled text, an LLM endpoint and a T5 into a small served model (Distilling Step-by-Step).
#[derive(Debug, Parser)]
#[command(name = "stepwise", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine: the API, a worker and a private PostgreSQL
    Up(GivenSettings),
    /// Run the HTTP API and inference; needs DATABASE_URL
    Serve(GivenSettings),
    /// Run a worker, which pulls jobs; needs DATABASE_URL
    Work(GivenSettings),
    /// Run one training attempt in DIR, which holds spec.json; frames go to standard output
    Train {
        /// The attempt's folder
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Serve recorded answers as an OpenAI-compatible teacher
    ScriptedTeacher(scripted_teacher::Arguments),
    /// Bring the database's schema up to date; needs DATABASE_URL
    Migrate(GivenSettings),
    /// Say what works on this machine and what is missing
    Doctor(GivenSettings),
    /// Print the API's OpenAPI document
    Openapi,
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let command = Cli::parse().command;
    if !matches!(command, Command::Doctor(_) | Command::Openapi) {
        crate::telemetry::start();
    }
    let result = match command {
        Command::Train { folder } => return train::run(&folder),
        Command::Doctor(given) => return doctor::run(given),
        Command::Openapi => openapi::run(),
        Command::ScriptedTeacher(arguments) => scripted_teacher::run(arguments),
        Command::Up(given) => up::run(given),
        Command::Serve(given) => serve::run(given),
        Command::Work(given) => work::run(given),
        Command::Migrate(given) => launch::migrate(given),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

/// What a command may fail with; printed with its causes, then the process ends.
type CommandError = Box<dyn std::error::Error + Send + Sync>;

fn report(error: &(dyn std::error::Error + 'static)) {
    eprintln!("stepwise: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        eprintln!("  because {inner}");
        cause = inner.source();
    }
}

/// The database's address, where a command cannot do without.
fn require_database(url: Option<&str>) -> Result<String, ConfigError> {
    url.map(str::to_owned).ok_or_else(|| ConfigError::Wrong {
        setting: "database_url",
        message: "is not set; give --database-url or DATABASE_URL, or use `stepwise up`, which brings its own"
            .to_owned(),
    })
}
