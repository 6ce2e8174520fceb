//! `stepwise doctor`: what works on this machine and what is missing, with the remedy. It changes nothing.

use std::process::ExitCode;

use super::{CommandError, launch, preflight, print};
use crate::{
    config::{GivenSettings, Settings},
    device, postgres,
    store::Store,
    teacher::TeacherClient,
    telemetry::chain,
};

/// Prints one line a check; fails when something is wrong or missing.
pub fn run(given: &GivenSettings) -> Result<ExitCode, CommandError> {
    let reading = given.read();
    let settings = &reading.settings;
    let mut report = Report::default();
    for fault in &reading.faults {
        report.line(Err(fault.to_string()), "setting")?;
    }
    for warning in &reading.warnings {
        print(&format!("note     {warning}\n"))?;
    }
    report.line(Ok(device::describe()), "libtorch")?;
    for check in preflight::CHECKS.iter().filter(|check| check.setting != "database_url") {
        report.line((check.look)(settings), check.title)?;
    }
    database(&mut report, settings)?;
    teachers(&mut report, settings)?;
    print("`stepwise settings` lists every setting and where it came from\n")?;
    Ok(if report.missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[derive(Default)]
struct Report {
    missing: bool,
}

impl Report {
    fn line(&mut self, found: Result<String, String>, what: &str) -> Result<(), CommandError> {
        let (mark, words) = match found {
            Ok(words) => ("ok     ", words),
            Err(words) => {
                self.missing = true;
                ("MISSING", words)
            }
        };
        print(&format!("{mark}  {what}: {words}\n"))
    }
}

/// PostgreSQL: the one that is named, or the programs of a private one.
fn database(report: &mut Report, settings: &Settings) -> Result<(), CommandError> {
    let Some(url) = &settings.database_url else {
        let programs = postgres::find_programs().map(|programs| programs.display().to_string());
        return report.line(programs.map_err(|error| error.to_string()), "PostgreSQL's programs, for `stepwise up`");
    };
    let ping = launch::block_on(async { Ok(Store::connect(url.reveal(), 4).await.map(drop)?) });
    let found = ping.map(|()| format!("{url} answers")).map_err(|error| format!("{url}: {}", chain(&*error)));
    report.line(found, "database")
}

fn teachers(report: &mut Report, settings: &Settings) -> Result<(), CommandError> {
    if settings.teachers.is_empty() {
        report.line(Ok("none: annotation jobs need [[teachers]] in the configuration".to_owned()), "teachers")?;
    }
    for teacher in &settings.teachers {
        let found = TeacherClient::new(teacher.clone()).map(|_| format!("{} at {}", teacher.name, teacher.base_url));
        report.line(found.map_err(|error| error.to_string()), "teacher")?;
    }
    Ok(())
}
