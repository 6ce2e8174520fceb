//! The command line: a file a command. It puts the rooms together and knows nothing that they could know.

mod bench_engine;
mod bench_http;
mod bench_rows;
mod doctor;
mod fetch;
mod gc;
mod healthcheck;
mod keys;
mod launch;
mod preflight;
mod scripted_teacher;
mod serve;
mod settings;
mod train;
mod up;
mod watch;
mod work;

use std::{
    io::{ErrorKind, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{
    config::{GivenSettings, Refusal},
    device, telemetry,
};

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
    /// Run the HTTP API and inference; needs a database
    Serve(GivenSettings),
    /// Run a worker, which pulls jobs; needs a database
    Work(GivenSettings),
    /// Bring models of the Hugging Face Hub into this machine's cache; goes on where an earlier one was interrupted
    Fetch(fetch::Arguments),
    /// Run one training attempt in DIR, which holds spec.json; frames go to standard output
    Train {
        /// The attempt's folder
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        #[command(flatten)]
        given: GivenSettings,
    },
    /// Serve recorded answers as an OpenAI-compatible teacher
    ScriptedTeacher(scripted_teacher::Arguments),
    /// Make, list and revoke API keys, in the database of --database-url, or else in the private one of --data-dir
    Keys(keys::Arguments),
    /// Bring the database's schema up to date
    Migrate(GivenSettings),
    /// Remove what nobody needs any more: artifacts that no row refers to, and what killed processes left
    Gc(gc::Arguments),
    /// Say what works on this machine and what is missing
    Doctor(GivenSettings),
    /// Print every setting as it is in force, and where it came from
    Settings(settings::Arguments),
    /// Time the engine alone on rows of a file; for `make bench-serve`
    #[command(hide = true)]
    BenchEngine(bench_engine::Arguments),
    /// Ask a running service as hard as many clients can; for `make bench-serve`
    #[command(hide = true)]
    BenchHttp(bench_http::Arguments),
    /// Ask a running service whether it is alive; for container engines
    Healthcheck(healthcheck::Arguments),
    /// Follow a job: a progress bar on a terminal, plain lines elsewhere, an exit code by its outcome
    #[command(after_help = watch::exit_codes())]
    Watch(watch::Arguments),
    /// Print the API's OpenAPI document
    Openapi,
    /// Print the catalogue of error codes
    Errors,
}

/// What a process ends with that was called in a way that cannot work; clap's own code for that.
const USAGE: u8 = 2;

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    device::bound_memory_of_products();
    let result = match Cli::parse().command {
        Command::Train { folder, given } => {
            start_log(&given);
            return train::run(&folder);
        }
        Command::Doctor(given) => return ended(doctor::run(&given)),
        Command::Settings(arguments) => return ended(settings::run(&arguments)),
        Command::Watch(arguments) => return ended(watch::run(&arguments)),
        Command::Openapi => print(&crate::api::openapi_yaml()),
        Command::Errors => print(&crate::catalogue::markdown()),
        Command::ScriptedTeacher(arguments) => {
            start_log(&arguments.given);
            scripted_teacher::run(arguments)
        }
        Command::BenchEngine(arguments) => bench_engine::run(&arguments),
        Command::BenchHttp(arguments) => bench_http::run(&arguments),
        Command::Healthcheck(arguments) => healthcheck::run(&arguments),
        Command::Up(given) => up::run(&given),
        Command::Serve(given) => serve::run(&given),
        Command::Work(given) => work::run(&given),
        Command::Fetch(arguments) => fetch::run(&arguments),
        Command::Keys(arguments) => keys::run(arguments),
        Command::Migrate(given) => launch::migrate(&given),
        Command::Gc(arguments) => gc::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&*error),
    }
}

/// The exit code of a command that has several.
fn ended(result: Result<ExitCode, CommandError>) -> ExitCode {
    result.unwrap_or_else(|error| failed(&*error))
}

/// Prints why a command ended without doing its work.
fn failed(error: &(dyn std::error::Error + Send + Sync + 'static)) -> ExitCode {
    report(error);
    if error.is::<Refusal>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
}

/// Starts the log of a command that reads no other settings. What is wrong with them is for those commands to refuse that
/// a person starts first: here the defaults stand in.
fn start_log(given: &GivenSettings) {
    let settings = given.read().settings;
    telemetry::start(&settings.log, settings.log_format);
}

/// Prints a document; a reader that has gone is no fault.
fn print(document: &str) -> Result<(), CommandError> {
    match std::io::stdout().write_all(document.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
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
