//! `stepwise settings`: every setting as it is in force, and where it came from. Secrets are not shown.

use std::process::ExitCode;

use clap::Args;

use crate::config::{self, GivenSettings};

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
pub fn run(arguments: &Arguments) -> ExitCode {
    if arguments.markdown {
        print!("{}", config::markdown());
        return ExitCode::SUCCESS;
    }
    let reading = arguments.given.read();
    for effective in &reading.effective {
        println!("{:<22} {:<44} {}", effective.key, effective.shown, effective.origin);
    }
    for (teacher, origin) in reading.settings.teachers.iter().zip(&reading.teacher_origins) {
        let key = teacher.api_key_env.as_deref().map_or("no key".to_owned(), |name| format!("key in {name}"));
        println!(
            "{:<22} {:<44} {origin}",
            format!("teachers.{}", teacher.name),
            format!("{}, {key}", teacher.base_url)
        );
    }
    for task in &reading.settings.tasks {
        println!("{:<22} {} worked examples", format!("tasks.{}", task.name), task.worked_examples.len());
    }
    for warning in &reading.warnings {
        eprintln!("stepwise: {warning}");
    }
    match reading.accept("settings") {
        Ok(_) => ExitCode::SUCCESS,
        Err(refusal) => {
            eprintln!("stepwise: {refusal}");
            ExitCode::from(super::USAGE)
        }
    }
}
