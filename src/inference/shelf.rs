//! The students in memory; the one that nobody has asked for longest makes room.

use std::time::{Duration, Instant};

use tch::Device;

use super::{InferenceError, ModelFiles};
use crate::domain::Precision;
use crate::student::Student;

/// A model that could not be loaded is not read again for so long: reading takes seconds in which others wait. Changed
/// files have another key, so a mended folder is read at once.
const BROKEN_FOR: Duration = Duration::from_secs(60);

/// Broken models that are remembered.
const MOST_BROKEN: usize = 64;

pub(super) struct Shelf {
    /// Most recently used last.
    students: Vec<(String, Student)>,
    most: usize,
    /// What could not be loaded, since when, and why; the newest last.
    broken: Vec<(String, Instant, InferenceError)>,
}

impl Shelf {
    pub fn new(most: usize) -> Self {
        Self { students: Vec::new(), most, broken: Vec::new() }
    }

    /// The student of these files, loaded if need be.
    pub fn get(
        &mut self,
        model: &ModelFiles,
        device: Device,
        precision: Precision,
    ) -> Result<&Student, InferenceError> {
        let loaded = match self.students.iter().position(|(key, _)| *key == model.key) {
            Some(place) => self.students.remove(place).1,
            None => self.load(model, device, precision)?,
        };
        self.students.push((model.key.clone(), loaded));
        let (_, student) = self.students.last().expect("one was pushed in the line above");
        Ok(student)
    }

    /// Puts a student away.
    pub fn forget(&mut self, key: &str) {
        self.students.retain(|(kept, _)| kept != key);
    }

    /// Makes room first, so that there are never more than `most` in memory.
    fn load(&mut self, model: &ModelFiles, device: Device, precision: Precision) -> Result<Student, InferenceError> {
        self.broken.retain(|(_, since, _)| since.elapsed() < BROKEN_FOR);
        if let Some((_, _, error)) = self.broken.iter().find(|(key, ..)| *key == model.key) {
            return Err(error.clone());
        }
        while self.students.len() >= self.most {
            let (key, _) = self.students.remove(0);
            tracing::info!(model = key, "model put away");
        }
        let mut student = Student::load(&model.directory, device, precision).map_err(|error| {
            let error = InferenceError::ModelBroken { reason: error.to_string() };
            self.remember(&model.key, &error);
            error
        })?;
        student.pack();
        tracing::info!(model = model.key, directory = %model.directory.display(), kind = ?student.kind, "model loaded");
        Ok(student)
    }

    fn remember(&mut self, key: &str, error: &InferenceError) {
        if self.broken.len() >= MOST_BROKEN {
            self.broken.remove(0);
        }
        self.broken.push((key.to_owned(), Instant::now(), error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_folder_is_read_once_until_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::new(1);
        let mut ask = |key: &str| {
            let model = ModelFiles { key: key.to_owned(), directory: folder.path().to_owned() };
            shelf.get(&model, Device::Cpu, Precision::Fp32).map(|_| ()).unwrap_err().to_string()
        };
        let first = ask("before");
        assert!(first.contains("config.json"), "{first}");
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        assert_eq!(ask("before"), first);
        assert_ne!(ask("after"), first);
    }
}
