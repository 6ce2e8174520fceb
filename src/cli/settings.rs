//! `stepwise settings`: every setting as it is in force, and where it came from. Secrets are not shown.

use std::{fmt::Write, process::ExitCode};

use clap::Args;

use super::CommandError;
use crate::config::{self, GivenSettings, Reading};

/// What to print.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    given: GivenSettings,
    /// Print the README's tables instead
    #[arg(long, hide = true)]
    markdown: bool,
}

/// Prints a line a setting; fails when any is wrong.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CommandError> {
    if arguments.markdown {
        super::print(&config::markdown())?;
        return Ok(ExitCode::SUCCESS);
    }
    let reading = arguments.given.read();
    super::print(&table(&reading))?;
    for warning in &reading.warnings {
        eprintln!("stepwise: {warning}");
    }
    reading.accept("settings")?;
    Ok(ExitCode::SUCCESS)
}

fn table(reading: &Reading) -> String {
    let mut text = String::new();
    for effective in &reading.effective {
        let _ = writeln!(text, "{:<22} {:<44} {}", effective.key, effective.shown, effective.origin);
    }
    for (teacher, origin) in reading.settings.teachers.iter().zip(&reading.teacher_origins) {
        let key = teacher.api_key_env.as_deref().map_or("no key".to_owned(), |name| format!("key in {name}"));
        let (name, asked) = (format!("teachers.{}", teacher.name), format!("{}, {key}", teacher.base_url));
        let _ = writeln!(text, "{name:<22} {asked:<44} {origin}");
    }
    for task in &reading.settings.tasks {
        let name = format!("tasks.{}", task.name);
        let _ = writeln!(text, "{name:<22} {} worked examples", task.worked_examples.len());
    }
    text
}
