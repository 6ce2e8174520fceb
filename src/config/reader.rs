//! From what was given to the settings in force: each value is found, parsed and checked once, and what is wrong is
//! collected rather than returned at the first.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use super::{
    DatabaseUrl, GivenSettings, Settings,
    fault::{Fault, Origin, Refusal},
    file::File,
    setting::Preset,
    settings::find,
    tasks::Tasks,
    values,
};
use crate::{domain::Hyperparameters, telemetry::LogFormat};

/// The settings in force, where each came from, and what is wrong with them.
#[derive(Debug)]
pub struct Reading {
    /// The settings; the default stands in for one that is wrong.
    pub settings: Settings,
    /// Every setting as it may be shown.
    pub effective: Vec<Effective>,
    /// Where each teacher stands, in the order of `settings.teachers`.
    pub teacher_origins: Vec<Origin>,
    /// What cannot be used.
    pub faults: Vec<Fault>,
    /// What can be used and is probably not meant.
    pub warnings: Vec<String>,
}

/// A setting as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Its key.
    pub key: &'static str,
    /// Its value, without secrets; empty where it has none.
    pub shown: String,
    /// Where it came from.
    pub origin: Origin,
}

impl Reading {
    /// Where a setting came from.
    pub fn origin(&self, key: &str) -> Option<Origin> {
        self.effective.iter().find(|effective| effective.key == key).map(|effective| effective.origin.clone())
    }

    /// The settings of a command, unless any is wrong. A variable that it does not read may say what it likes: another
    /// program's `DATABASE_URL` is none of its business.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn accept(mut self, command: &str) -> Result<Settings, Refusal> {
        let is_read = |key: &str| find(key).is_none_or(|setting| setting.is_read_by(command));
        self.faults.retain(|fault| !matches!(fault.origin, Some(Origin::Variable(_))) || is_read(&fault.setting));
        if self.faults.is_empty() { Ok(self.settings) } else { Err(Refusal(self.faults)) }
    }
}

impl GivenSettings {
    /// Lays flags over variables over the file over the defaults, and checks the whole.
    pub fn read(&self) -> Reading {
        let file = self.file();
        let mut reader = Reader { given: self, file: &file, effective: Vec::new(), faults: Vec::new() };
        let listen = reader.value("listen", values::address);
        let tasks_dir = reader.optional("tasks_dir", values::folder, |folder| folder.display().to_string());
        let url = reader.optional("url", values::service_url, Clone::clone);
        let notice = reader.optional("drain_notice_seconds", values::number(0), ToString::to_string);
        let settings = Settings {
            listen,
            allow_unauthenticated: reader.value("allow_unauthenticated", values::truth),
            url: url.unwrap_or_else(|| reachable(listen)),
            api_key: reader.optional("api_key", values::secret, |_| "(not shown)".to_owned()),
            database_url: reader.optional("database_url", DatabaseUrl::parse, ToString::to_string),
            // Two, so that the API and a worker of one process do not wait for each other.
            database_connections: reader.value("database_connections", values::number(2)),
            data_dir: reader.value("data_dir", values::folder),
            tasks_dir,
            models_dir: reader.value("models_dir", values::folder),
            hub_endpoint: reader.value("hub_endpoint", values::service_url),
            hub_cache: reader.found("hub_cache", values::folder, || self.hub_cache()),
            hub_token: reader.optional("hub_token", values::secret, |_| "(not shown)".to_owned()),
            hub_offline: reader.value("hub_offline", values::truth),
            device: reader.value("device", values::device),
            threads: reader.optional("threads", threads, ToString::to_string).unwrap_or_else(cores),
            precision: reader.value("precision", values::precision),
            kinds: reader.value("kinds", values::kinds),
            drain_for: Duration::from_secs(reader.value("drain_seconds", values::number(0))),
            max_unread: Duration::from_secs(reader.value("max_unread_seconds", values::number_within(1, 86400))),
            requests_drain_for: Duration::from_secs(reader.value("request_drain_seconds", values::number(0))),
            drain_notice: Duration::from_secs(notice.unwrap_or_else(|| usual_notice(listen))),
            max_upload_bytes: reader.value("max_upload_bytes", values::number(1)),
            max_waiting: reader.value("max_waiting", values::number(1)),
            max_waiting_tokens: reader.value("max_waiting_tokens", values::number(1)),
            max_queue_time: Duration::from_secs(reader.value("max_queue_seconds", values::number_within(1, 86400))),
            max_models: reader.value("max_models", values::number(1)),
            max_model_bytes: reader.optional("max_model_bytes", values::number(1), ToString::to_string),
            pinned: reader.optional("pinned", values::names, |names| names.join(",")).unwrap_or_default(),
            log: reader.value("log", values::filter),
            log_format: reader.value::<LogFormat>("log_format", values::log_format),
            teachers: file.teachers.iter().map(|(teacher, _)| teacher.clone()).collect(),
            tasks: file.tasks.iter().map(|(task, _)| task.clone()).collect(),
        };
        let Reader { effective, mut faults, .. } = reader;
        faults.extend(file.faults.iter().cloned());
        let mut reading = Reading {
            settings,
            effective,
            teacher_origins: file.teachers.iter().map(|(_, origin)| origin.clone()).collect(),
            faults,
            warnings: self.misspelled(),
        };
        reading.read_tasks_dir();
        reading.refuse_repeated_names();
        reading
    }
}

struct Reader<'a> {
    given: &'a GivenSettings,
    file: &'a File,
    effective: Vec<Effective>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    /// A setting that has a default value.
    fn value<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        let setting = find(key).expect("the list of settings has every key that is read; a test reads them all");
        let Preset::Is(default) = setting.default else { unreachable!("{key} is read as a setting with a default") };
        let given = self.parsed(key, &parse, |_, text| text.to_owned());
        given.unwrap_or_else(|| {
            self.note(key, default.to_owned(), Origin::Default);
            parse(default).expect("a default is a good value; a test parses them all")
        })
    }

    /// A setting that may be missing.
    fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        let given = self.parsed(key, &parse, |value, _| show(value));
        if given.is_none() {
            let words = match find(key).map(|setting| setting.default) {
                Some(Preset::Found(words)) => words.replace('`', ""),
                _ => String::new(),
            };
            self.note(key, words, Origin::Default);
        }
        given
    }

    /// A folder that is found out where nobody names it.
    fn found(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<PathBuf, String>,
        find: impl FnOnce() -> (PathBuf, Origin),
    ) -> PathBuf {
        self.parsed(key, &parse, |value, _| value.display().to_string()).unwrap_or_else(|| {
            let (folder, origin) = find();
            self.note(key, folder.display().to_string(), origin);
            folder
        })
    }

    fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
        show: impl Fn(&T, &str) -> String,
    ) -> Option<T> {
        let setting = find(key).expect("the list of settings has every key that is read; a test reads them all");
        let (text, origin) = self.given.find(setting).or_else(|| self.file.values.get(key).cloned())?;
        match parse(text.trim()) {
            Ok(value) => {
                self.note(key, show(&value, text.trim()), origin);
                Some(value)
            }
            Err(problem) => {
                // An address may hold a password, wherever it stands.
                let value = (!setting.secret && !text.contains('@')).then_some(text);
                self.faults.push(Fault { setting: key.to_owned(), value, origin: Some(origin), problem });
                None
            }
        }
    }

    fn note(&mut self, key: &'static str, shown: String, origin: Origin) {
        self.effective.push(Effective { key, shown, origin });
    }
}

impl Reading {
    fn read_tasks_dir(&mut self) {
        let origin = self.origin("tasks_dir").unwrap_or(Origin::Default);
        let Some(folder) = &self.settings.tasks_dir else { return };
        let found = Tasks::of_folder(folder, &origin);
        self.settings.tasks.extend(found.tasks.into_iter().map(|(task, _)| task));
        self.faults.extend(found.faults);
    }

    fn refuse_repeated_names(&mut self) {
        let teachers = repeated(self.settings.teachers.iter().map(|teacher| teacher.name.as_str()));
        let tasks = repeated(self.settings.tasks.iter().map(|task| task.name.as_str()));
        let faults = [("teachers", teachers), ("tasks", tasks)].map(|(setting, name)| {
            let problem = format!("{:?} is defined twice; each needs a name of its own", name?);
            Some(Fault { setting: setting.to_owned(), value: None, origin: None, problem })
        });
        self.faults.extend(faults.into_iter().flatten());
    }
}

fn repeated<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name)).map(str::to_owned)
}

fn threads(text: &str) -> Result<usize, String> {
    values::number_within(1, u64::from(Hyperparameters::MAX_THREADS))(text)
}

fn cores() -> usize {
    let most = Hyperparameters::MAX_THREADS as usize;
    std::thread::available_parallelism().map_or(1, |cores| usize::from(cores).min(most))
}

/// Seconds. No load balancer stands before an address that only this machine reaches.
fn usual_notice(listen: SocketAddr) -> u64 {
    if listen.ip().is_loopback() { 0 } else { 5 }
}

/// The address at which this machine finds a server that listens there.
fn reachable(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
