//! A whole file's lines, checked once at upload.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::lines::LineReader;
use crate::domain::{Example, LineError, Validation};

/// Errors that a validation keeps.
const MAX_ERRORS: usize = 100;

/// Takes a file's bytes as they come and finds out whether its lines can be used. Keeps 16 bytes an id and the first
/// hundred errors, nothing else.
#[derive(Debug, Default)]
pub struct Validator {
    reader: LineReader,
    findings: Findings,
}

impl Validator {
    /// A validator at the start of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reader.push(bytes, &mut |number, line| self.findings.take(number, line));
    }

    /// Ends the file. A file without a line is an error of its own.
    pub fn finish(self) -> Validation {
        let Self { reader, mut findings } = self;
        reader.finish(&mut |number, line| findings.take(number, line));
        if findings.validation.rows == 0 {
            let message = "the file has no lines".to_owned();
            findings.refuse(LineError {
                line: 1,
                code: "empty".to_owned(),
                field: None,
                message,
                snippet: String::new(),
            });
        }
        findings.validation
    }
}

#[derive(Debug, Default)]
struct Findings {
    validation: Validation,
    /// The first half of each id's SHA-256: two ids that share it do not occur.
    ids: HashSet<[u8; 16]>,
}

impl Findings {
    fn take(&mut self, number: u64, line: Result<Example, LineError>) {
        self.validation.rows += 1;
        match line.and_then(|example| self.with_new_id(number, example)) {
            Ok(example) => self.count(&example),
            Err(error) => self.refuse(error),
        }
    }

    fn with_new_id(&mut self, number: u64, example: Example) -> Result<Example, LineError> {
        let digest = Sha256::digest(example.id.as_bytes());
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        if self.ids.insert(half) {
            return Ok(example);
        }
        let shown: String = example.id.chars().take(80).collect();
        Err(LineError {
            line: number,
            code: "duplicate_id".to_owned(),
            field: Some("id".to_owned()),
            message: format!("id {shown:?} was used by an earlier line; ids must be unique in a file"),
            snippet: example.input.chars().take(80).collect(),
        })
    }

    fn count(&mut self, example: &Example) {
        let validation = &mut self.validation;
        validation.valid_rows += 1;
        validation.labeled_rows += u64::from(example.label.is_some());
        validation.teacher_labeled_rows += u64::from(example.teacher_label.is_some());
        validation.rationale_rows += u64::from(example.rationale.is_some());
    }

    fn refuse(&mut self, error: LineError) {
        if self.validation.errors.len() < MAX_ERRORS {
            self.validation.errors.push(error);
        } else {
            self.validation.errors_truncated = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validate(file: &str) -> Validation {
        let mut validator = Validator::new();
        validator.push(file.as_bytes());
        validator.finish()
    }

    #[test]
    fn rows_are_counted_by_what_they_hold() {
        let found = validate(concat!(
            "{\"input\":\"a\",\"label\":\"x\"}\n",
            "{\"input\":\"b\",\"teacher_label\":\"x\",\"rationale\":\"r\"}\n",
            "\n",
            "{\"inputs\":\"c\"}\n",
        ));
        assert_eq!((found.rows, found.valid_rows, found.labeled_rows), (3, 2, 1));
        assert_eq!((found.teacher_labeled_rows, found.rationale_rows), (1, 1));
        assert_eq!((found.errors.len(), found.errors[0].line), (1, 4));
    }

    #[test]
    fn a_file_without_lines_is_an_error() {
        for file in ["", "\n\r\n", "\u{feff}"] {
            let found = validate(file);
            assert_eq!((found.rows, found.errors[0].code.as_str()), (0, "empty"));
        }
    }

    #[test]
    fn an_id_used_twice_is_an_error_also_where_it_was_given_by_the_line() {
        let found = validate("{\"id\":\"line-2\",\"input\":\"a\"}\n{\"input\":\"b\"}\n");
        assert_eq!((found.errors[0].line, found.errors[0].code.as_str()), (2, "duplicate_id"));
    }

    #[test]
    fn the_first_hundred_errors_are_kept() {
        let found = validate(&"{}\n".repeat(101));
        assert_eq!((found.rows, found.valid_rows, found.errors.len(), found.errors_truncated), (101, 0, 100, true));
    }
}
