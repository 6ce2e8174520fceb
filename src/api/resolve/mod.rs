//! From what was asked to what a worker will do: names looked up, defaults filled in, and everything refused that can
//! be refused before a job waits in the queue. Each refusal names the field and what would be right.

pub mod annotation;
pub mod distillation;
pub mod evaluation;
mod file;
mod hyperparameters;
pub mod model;
mod strangers;
mod student;
mod submission;
mod task;

pub use submission::{Metadata, Submission, warn_of_leakage};
pub use task::check_labels;

use super::error::{ApiError, FieldError};

/// What is wrong with a request, gathered so that a client learns of everything at once.
#[derive(Debug, Default)]
pub struct Refusals(Vec<FieldError>);

impl Refusals {
    /// Adds an error.
    pub fn add(&mut self, pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        self.0.push(FieldError::new(pointer, code, detail));
    }

    /// Adds an error that names a line of a file.
    pub fn add_line(&mut self, pointer: &str, line: u64, code: &'static str, detail: String) {
        self.0.push(FieldError { line: Some(line), ..FieldError::new(pointer, code, detail) });
    }

    /// Adds an `invalid_value` unless it is right.
    pub fn require(&mut self, right: bool, pointer: &str, detail: impl FnOnce() -> String) {
        if !right {
            self.add(pointer, "invalid_value", detail());
        }
    }

    /// Fails if anything was refused.
    pub fn finish(self) -> Result<(), ApiError> {
        if self.0.is_empty() { Ok(()) } else { Err(ApiError::Invalid(self.0)) }
    }
}
