//! What must be true of this machine before a command touches anything: every check is made, and everything that is
//! wrong is told at once, together with wrong settings. `doctor` makes the same checks.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
};

use crate::{
    config::{self, Fault, GivenSettings, Reading, Refusal, Settings},
    device,
    domain::JobKind,
    hub::HubSettings,
    store::Store,
    teacher::TeacherClient,
    telemetry,
};

/// Reads a command's settings, starts its log, and refuses whatever cannot work.
pub fn settings_for(command: &str, given: &GivenSettings) -> Result<Settings, Refusal> {
    let mut reading = given.read();
    telemetry::start(&reading.settings.log, reading.settings.log_format);
    for warning in &reading.warnings {
        tracing::warn!("{warning}");
    }
    let faults: Vec<Fault> = faults_of_machine(command, &reading).collect();
    reading.faults.extend(faults);
    reading.accept(command)
}

/// A check of one setting: what was found, or what is wrong and what would be right.
pub struct Check {
    pub setting: &'static str,
    pub title: &'static str,
    pub look: fn(&Settings) -> Result<String, String>,
}

/// Every check that one setting decides. Teachers are checked apart, each at its own line.
pub const CHECKS: [Check; 7] = [
    Check { setting: "listen", title: "address", look: address },
    Check { setting: "data_dir", title: "data directory", look: data_dir },
    Check { setting: "models_dir", title: "models directory", look: models_dir },
    Check { setting: "hub_endpoint", title: "Hugging Face Hub", look: hub },
    Check { setting: "device", title: "device", look: usable_device },
    Check { setting: "precision", title: "arithmetic", look: usable_precision },
    Check { setting: "database_url", title: "database address", look: database_url },
];

fn faults_of_machine<'a>(command: &'a str, reading: &'a Reading) -> impl Iterator<Item = Fault> + 'a {
    let read = |check: &&Check| config::find(check.setting).is_some_and(|setting| setting.is_read_by(command));
    let wrong_already = |key: &str| reading.faults.iter().any(|fault| fault.setting == key);
    let checks = CHECKS.iter().filter(read).filter(move |check| !wrong_already(check.setting));
    let checks = checks.filter(move |check| command != "keys" || check.setting == place_of_keys(&reading.settings));
    let faults = checks.filter_map(|check| Some((check.setting, (check.look)(&reading.settings).err()?)));
    let faults = faults.map(|(setting, problem)| {
        let found = reading.effective.iter().find(|effective| effective.key == setting && !effective.shown.is_empty());
        let (value, origin) = (found.map(|found| found.shown.clone()), found.map(|found| found.origin.clone()));
        Fault { setting: setting.to_owned(), value, origin, problem }
    });
    let asks = ["up", "work"].contains(&command) && reading.settings.kinds.contains(&JobKind::Annotation);
    faults.chain(teacher_faults(reading).filter(move |_| asks))
}

/// The setting that `keys` finds its database by: the private one lies in the data directory.
fn place_of_keys(settings: &Settings) -> &'static str {
    if settings.database_url.is_some() { "database_url" } else { "data_dir" }
}

/// Teachers that this process could not ask. `serve` asks none, so it needs no key.
fn teacher_faults(reading: &Reading) -> impl Iterator<Item = Fault> + '_ {
    let teachers = reading.settings.teachers.iter().zip(&reading.teacher_origins);
    teachers.filter_map(|(teacher, origin)| {
        let problem = TeacherClient::new(teacher.clone()).err()?.to_string();
        let setting = format!("teachers.{}", teacher.name);
        Some(Fault { setting, value: None, origin: Some(origin.clone()), problem })
    })
}

/// Whether an address that other machines reach has keys to be asked with is seen once the database answers.
fn address(settings: &Settings) -> Result<String, String> {
    match TcpListener::bind(settings.listen) {
        Ok(_) => Ok(format!("{} is free", settings.listen)),
        Err(error) => Err(format!(
            "cannot be listened on: {error}; is another stepwise running? choose another address, such as 127.0.0.1:8081"
        )),
    }
}

fn data_dir(settings: &Settings) -> Result<String, String> {
    let folder = &settings.data_dir;
    let there = nearest_there(folder);
    let remedy = "name a folder that this account may write to";
    if !there.is_dir() {
        return Err(format!("{} is not a folder; {remedy}", there.display()));
    }
    // A file without a name: nothing is left behind, and root's rights and read-only file systems count as they are.
    match tempfile::tempfile_in(&there) {
        Ok(_) => Ok(format!("{} can be written to", folder.display())),
        Err(error) => Err(format!("cannot be written to at {}: {error}; {remedy}", there.display())),
    }
}

fn models_dir(settings: &Settings) -> Result<String, String> {
    let folder = settings.models_dir.display();
    match std::fs::read_dir(&settings.models_dir) {
        Ok(_) => Ok(folder.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(format!("{folder} (not there: only students from scratch and finished ones)"))
        }
        Err(error) => Err(format!("cannot be read: {error}; name a folder whose sub-folders are models")),
    }
}

fn hub(settings: &Settings) -> Result<String, String> {
    let hub = HubSettings::new(&settings.hub_endpoint, settings.hub_cache.clone())?;
    let token = if settings.hub_token.is_some() { "with a token" } else { "without a token" };
    let asked = if settings.hub_offline { "offline" } else { token };
    Ok(format!("{}, {asked}, cache in {}", hub.endpoint, hub.cache.display()))
}

fn usable_device(settings: &Settings) -> Result<String, String> {
    match device::parse(&settings.device) {
        Ok(_) => Ok(format!("{} with {} threads", settings.device, settings.threads)),
        Err(error) => Err(error.to_string()),
    }
}

fn usable_precision(settings: &Settings) -> Result<String, String> {
    // A device that is not there is told of by itself.
    let Ok(device) = device::parse(&settings.device) else { return Ok("undecided without a device".to_owned()) };
    device::check_precision(settings.precision, device).map_err(|error| error.to_string())?;
    Ok(device::words_of_answers(settings.precision, device))
}

fn database_url(settings: &Settings) -> Result<String, String> {
    let Some(url) = &settings.database_url else {
        return Err("is not set; give STEPWISE_DATABASE_URL, or use `stepwise up`, which brings its own".to_owned());
    };
    Store::check_address(url.reveal()).map(|()| url.to_string()).map_err(|error| telemetry::chain(&error))
}

/// The folder itself, or the nearest one above it that is there.
fn nearest_there(folder: &Path) -> PathBuf {
    folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_owned()
}
