//! `stepwise doctor`: what works on this machine and what is missing, with the remedy.

use std::{path::Path, process::ExitCode};

use super::launch;
use crate::{
    config::{GivenSettings, Settings},
    device, postgres,
    store::Store,
};

/// Prints one line a check; fails when something that every command needs is missing.
pub fn run(given: GivenSettings) -> ExitCode {
    let settings = match given.resolve() {
        Ok(settings) => settings,
        Err(error) => {
            println!("MISSING  settings: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut report = Report::default();
    report.line(true, "settings", &format!("listen on {}, device {}", settings.listen, settings.device));
    libtorch(&mut report, &settings);
    postgres_programs(&mut report);
    folders(&mut report, &settings);
    database(&mut report, &settings);
    teachers(&mut report, &settings);
    if report.missing { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[derive(Default)]
struct Report {
    missing: bool,
}

impl Report {
    fn line(&mut self, good: bool, what: &str, found: &str) {
        self.missing |= !good;
        println!("{}  {what}: {found}", if good { "ok     " } else { "MISSING" });
    }
}

fn libtorch(report: &mut Report, settings: &Settings) {
    report.line(true, "libtorch", &device::describe());
    match device::parse(&settings.device) {
        Ok(_) => report.line(true, "device", &format!("{} with {} threads", settings.device, settings.threads)),
        Err(error) => report.line(false, "device", &error.to_string()),
    }
}

fn postgres_programs(report: &mut Report) {
    match postgres::find_programs() {
        Ok(programs) => report.line(true, "PostgreSQL's programs", &programs.display().to_string()),
        Err(error) => report.line(false, "PostgreSQL's programs", &error.to_string()),
    }
}

fn folders(report: &mut Report, settings: &Settings) {
    let writable = std::fs::create_dir_all(&settings.data_dir).and_then(|()| tempfile::tempfile_in(&settings.data_dir));
    match writable {
        Ok(_) => report.line(true, "data directory", &settings.data_dir.display().to_string()),
        Err(error) => report.line(false, "data directory", &format!("{}: {error}", settings.data_dir.display())),
    }
    let models = settings.models_dir.display();
    let found = if Path::new(&settings.models_dir).is_dir() { "" } else { " (not there: only students from scratch)" };
    report.line(true, "models directory", &format!("{models}{found}"));
}

fn database(report: &mut Report, settings: &Settings) {
    let Some(url) = settings.database_url.as_deref() else {
        return report.line(true, "database", "not set: `stepwise up` brings its own");
    };
    let ping = launch::block_on(async { Ok(Store::connect(url, 4).await.map(drop)?) });
    match ping {
        Ok(()) => report.line(true, "database", "answers"),
        Err(error) => report.line(false, "database", &error.to_string()),
    }
}

fn teachers(report: &mut Report, settings: &Settings) {
    if settings.teachers.is_empty() {
        report.line(true, "teachers", "none: annotation jobs need [[teachers]] in the configuration");
    }
    for teacher in &settings.teachers {
        report.line(true, "teacher", &format!("{} at {}", teacher.name, teacher.base_url));
    }
}
