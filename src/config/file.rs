//! The configuration file: settings by key with their lines, teachers and tasks, and everything that is wrong with it.

use std::{collections::BTreeMap, path::Path};

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{
    fault::{Fault, Origin},
    place::Place,
    settings::{CONFIG, LISTS, SETTINGS},
    tasks::Tasks,
};
use crate::{
    domain::{TaskDefinition, nearest},
    teacher::TeacherSettings,
};

/// What a configuration file says.
#[derive(Debug, Default)]
pub struct File {
    /// Values by key, as text, and where they stand.
    pub values: BTreeMap<String, (String, Origin)>,
    /// Teachers that can be used, and where they stand.
    pub teachers: Vec<(TeacherSettings, Origin)>,
    /// Tasks that can be used, and where they stand.
    pub tasks: Vec<(TaskDefinition, Origin)>,
    /// What cannot be used.
    pub faults: Vec<Fault>,
}

impl File {
    /// Reads the file; what is wrong with it is in `faults`.
    pub fn read(path: &Path, named_by: Origin) -> Self {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) => {
                let value = Some(path.display().to_string());
                let fault = Fault {
                    setting: CONFIG.key.to_owned(),
                    value,
                    origin: Some(named_by),
                    problem: format!("cannot be read: {error}"),
                };
                Self { faults: vec![fault], ..Self::default() }
            }
        }
    }

    fn parse(path: &Path, text: &str) -> Self {
        let place = Place { path: path.to_owned(), text };
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // What was read around a broken line would only bring faults that are none.
            let faults = errors.iter().map(|error| place.fault(CONFIG.key, error)).collect();
            return Self { faults, ..Self::default() };
        }
        let mut file = Self::default();
        for (key, value) in table.into_inner() {
            let line = place.line(key.span());
            match key.get_ref().as_ref() {
                "teachers" => file.teachers(&place, value, line),
                "tasks" => file.tasks(&place, value, line),
                name => file.value(name, value.into_inner(), line),
            }
        }
        file
    }

    fn value(&mut self, name: &str, value: DeValue<'_>, origin: Origin) {
        let known = SETTINGS.iter().map(|setting| setting.key);
        let problem = if !known.clone().any(|key| key == name) {
            format!("there is no such setting{}", nearest(name, known.chain(LISTS.map(|[key, _]| key))))
        } else if let Some(text) = plain(value) {
            self.values.insert(name.to_owned(), (text, origin));
            return;
        } else {
            "must be a text, a number, true, false, or a list of texts".to_owned()
        };
        self.faults.push(Fault { setting: name.to_owned(), value: None, origin: Some(origin), problem });
    }

    fn teachers(&mut self, place: &Place<'_>, value: Spanned<DeValue<'_>>, line: Origin) {
        for (teacher, origin) in self.list::<TeacherSettings>(place, "teachers", value, line) {
            let faults = teacher.faults();
            self.faults.extend(faults.iter().map(|problem| Fault {
                setting: format!("teachers.{}", teacher.name),
                value: None,
                origin: Some(origin.clone()),
                problem: problem.clone(),
            }));
            if faults.is_empty() {
                self.teachers.push((teacher, origin));
            }
        }
    }

    fn tasks(&mut self, place: &Place<'_>, value: Spanned<DeValue<'_>>, line: Origin) {
        let mut found = Tasks::default();
        self.list(place, "tasks", value, line).into_iter().for_each(|(task, origin)| found.take(task, origin));
        self.tasks = found.tasks;
        self.faults.extend(found.faults);
    }

    /// The tables of a list that can be read.
    fn list<T: DeserializeOwned>(
        &mut self,
        place: &Place<'_>,
        key: &str,
        value: Spanned<DeValue<'_>>,
        line: Origin,
    ) -> Vec<(T, Origin)> {
        let DeValue::Array(items) = value.into_inner() else {
            let problem = format!("must be a list of tables, each under [[{key}]]");
            self.faults.push(Fault { setting: key.to_owned(), value: None, origin: Some(line), problem });
            return Vec::new();
        };
        let mut read = Vec::new();
        for item in items {
            let origin = place.line(item.span());
            match T::deserialize(ValueDeserializer::from(item)) {
                Ok(value) => read.push((value, origin)),
                Err(error) => self
                    .faults
                    .push(Fault { origin: Some(place.line_of(&error).unwrap_or(origin)), ..place.fault(key, &error) }),
            }
        }
        read
    }
}

/// A plain value as the text that a flag would have.
fn plain(value: DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.into_owned()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> = items.into_iter().map(|item| plain(item.into_inner())).collect();
            texts.map(|texts| texts.join(","))
        }
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        File::parse(Path::new("s.toml"), text).faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_fault_is_found_at_its_line() {
        let text = "treads = 3\n\n[[teachers]]\nname = 'a'\nbase_url = 'http://h/v1'\nmodel = 'm'\nmax_concurency = 2\n\
                    [[teachers]]\nname = 'b'\nbase_url = 'ftp://h'\nmodel = 'm'\n[log]\n";
        let found = faults(text);
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(
            found
                .iter()
                .any(|fault| fault.starts_with("treads (s.toml:1)") && fault.contains("did you mean \"threads\"?"))
        );
        assert!(
            found
                .iter()
                .any(|fault| fault.starts_with("teachers (s.toml:7)") && fault.contains("\"max_concurrency\"?"))
        );
        assert!(found.iter().any(|fault| fault.starts_with("teachers.b (s.toml:8)") && fault.contains("http://")));
        assert!(found.iter().any(|fault| fault.starts_with("log (s.toml:12)")), "{found:#?}");
    }

    #[test]
    fn a_broken_file_is_refused_at_its_line() {
        let found = faults("threads = 3\nlisten = \"x\n");
        assert!(!found.is_empty() && found.iter().all(|fault| fault.starts_with("config (s.toml:2)")), "{found:#?}");
    }

    #[test]
    fn no_message_quotes_a_value() {
        let teacher = "[[teachers]]\nname = 'a'\nbase_url = 'http://h/v1'\nmodel = 'm'\n";
        for text in [
            format!("{teacher}api_key = 'sk-hidden'"),
            format!("{teacher}max_concurrency = 'sk-\"hidden'"),
            format!("{teacher}api_key_env = 'sk-hidden'"),
            "database_url = postgres://u:sk-hidden@h/d".to_owned(),
            "teachers = 'sk-hidden'".to_owned(),
        ] {
            let found = faults(&text);
            assert!(!found.is_empty() && !found.concat().contains("hidden"), "{found:#?}");
        }
    }

    #[test]
    fn values_are_what_a_flag_would_say() {
        let file =
            File::parse(Path::new("s.toml"), "kinds = ['annotation', 'evaluation']\nthreads = 3\nlisten = 'a:1'");
        let value = |key: &str| file.values[key].0.as_str();
        assert_eq!((value("kinds"), value("threads"), value("listen")), ("annotation,evaluation", "3", "a:1"));
    }
}
