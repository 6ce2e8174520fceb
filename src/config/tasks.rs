//! Tasks of the configuration: under `[[tasks]]`, or each in a file of its own in the folder of `tasks_dir`, named like it.
//! What a request's own task would be refused for is refused here, when the program starts.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    fault::{Fault, Origin},
    place::Place,
};
use crate::{domain::TaskDefinition, task::definition};

/// A folder's tasks, and where they stand.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// Those that can be used.
    pub tasks: Vec<(TaskDefinition, Origin)>,
    /// What cannot.
    pub faults: Vec<Fault>,
}

impl Tasks {
    /// Reads the `*.toml` files of a folder in the order of their names.
    pub fn of_folder(folder: &Path, named_by: &Origin) -> Self {
        let mut found = Self::default();
        match files(folder) {
            Ok(paths) => paths.iter().for_each(|path| found.file(path)),
            Err(error) => found.faults.push(Fault {
                setting: "tasks_dir".to_owned(),
                value: Some(folder.display().to_string()),
                origin: Some(named_by.clone()),
                problem: format!("cannot be read: {error}"),
            }),
        }
        found
    }

    /// Takes a task whose definition is sound.
    pub fn take(&mut self, task: TaskDefinition, origin: Origin) {
        let faults = definition::faults(&task);
        let setting = format!("tasks.{}", task.name);
        self.faults.extend(faults.iter().map(|fault| Fault {
            setting: setting.clone(),
            value: None,
            origin: Some(origin.clone()),
            problem: format!("{}: {}", key(&fault.place), fault.message),
        }));
        if faults.is_empty() {
            self.tasks.push((task, origin));
        }
    }

    fn file(&mut self, path: &Path) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let setting = format!("tasks.{name}");
        let origin = Origin::File(path.to_owned(), 1);
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let problem = format!("cannot be read: {error}");
                self.faults.push(Fault { setting, value: None, origin: Some(origin), problem });
                return;
            }
        };
        match toml::from_str::<TaskDefinition>(&text) {
            Ok(task) if task.name.is_empty() => self.take(TaskDefinition { name, ..task }, origin),
            Ok(task) => self.take(task, origin),
            Err(error) => {
                let place = Place { path: path.to_owned(), text: &text };
                let fault = place.fault(&setting, &error);
                self.faults.push(Fault { origin: fault.origin.or(Some(origin)), ..fault });
            }
        }
    }
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths: io::Result<Vec<PathBuf>> = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort_unstable();
    Ok(paths)
}

/// `/worked_examples/1/label` as TOML's users would say it: `worked_examples[1].label`.
fn key(place: &str) -> String {
    let mut key = String::new();
    for part in place.split('/').skip(1) {
        match part.parse::<usize>() {
            Ok(index) => key += &format!("[{index}]"),
            Err(_) if key.is_empty() => key += part,
            Err(_) => key = key + "." + part,
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> Tasks {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
        Tasks::of_folder(folder.path(), &Origin::Default)
    }

    #[test]
    fn each_file_is_a_task_named_like_it() {
        let found = folder(&[
            ("b.toml", "name = 'returns'\nlabel_set = { fixed = ['yes', 'no'] }\n"),
            (
                "urgency.toml",
                "instructions = 'Decide.'\n[[worked_examples]]\ninput = 'a'\nrationale = 'b'\nlabel = 'c'\n",
            ),
            ("README.md", "no task"),
        ]);
        assert_eq!(found.faults, []);
        let names: Vec<_> = found.tasks.iter().map(|(task, _)| task.name.as_str()).collect();
        assert_eq!(names, ["returns", "urgency"]);
    }

    #[test]
    fn what_is_wrong_is_named_by_file_line_and_key() {
        let found = folder(&[
            ("a.toml", "scorer = 'exact_match'\nlabels = ['x']\n"),
            (
                "b.toml",
                "label_set = { fixed = ['yes', 'no'] }\n[[worked_examples]]\ninput = 'a'\nrationale = 'b'\nlabel = 'maybe'\n",
            ),
            ("c.toml", "form = \n"),
            ("d.toml", "scorer = 'bleu'\n"),
        ]);
        let faults: Vec<String> = found.faults.iter().map(ToString::to_string).collect();
        assert!(found.tasks.is_empty() && faults.len() == 4, "{faults:#?}");
        assert!(faults[0].contains("a.toml:2): unknown key \"labels\"; did you mean \"label_set\"?"), "{}", faults[0]);
        assert!(
            faults[1].contains("b.toml:1): worked_examples[0].label: label \"maybe\" is not one of: yes, no"),
            "{}",
            faults[1]
        );
        assert!(faults[2].contains("c.toml:1)"), "{}", faults[2]);
        assert!(faults[3].contains("d.toml:1)") && faults[3].contains("exact_match"), "{}", faults[3]);
        let none = Tasks::of_folder(Path::new("/no/such"), &Origin::Flag("tasks-dir".to_owned()));
        assert!(none.faults[0].to_string().starts_with("tasks_dir = \"/no/such\" (--tasks-dir): cannot be read"));
    }
}
