//! The students in memory; the one that nobody has asked for longest makes room.

use tch::Device;

use super::{InferenceError, ModelFiles};
use crate::domain::Precision;
use crate::student::Student;

pub(super) struct Shelf {
    /// Most recently used last.
    students: Vec<(String, Student)>,
    most: usize,
}

impl Shelf {
    pub fn new(most: usize) -> Self {
        Self { students: Vec::new(), most }
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

    /// Makes room first, so that there are never more than `most` in memory.
    fn load(&mut self, model: &ModelFiles, device: Device, precision: Precision) -> Result<Student, InferenceError> {
        while self.students.len() >= self.most {
            let (key, _) = self.students.remove(0);
            tracing::info!(model = key, "model put away");
        }
        let student = Student::load(&model.directory, device, precision);
        let student = student.map_err(|error| InferenceError::ModelBroken { reason: error.to_string() })?;
        tracing::info!(model = model.key, directory = %model.directory.display(), kind = ?student.kind, "model loaded");
        Ok(student)
    }
}
