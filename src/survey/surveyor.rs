//! The pass over a file's bytes, without any waiting: for a thread of its own.

use std::{
    io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    errors::Errors,
    fingerprint::{Fingerprint, SPLIT_BITS, Writer},
    repeats::{self, tag},
    runs::{Record, Runs},
};
use crate::{
    domain::{Example, LineError, Validation},
    task::{
        lines::{LinePlace, LineReader},
        statistics::Describer,
    },
};

/// Takes a file's bytes as they come and finds out what its rows are.
#[derive(Debug)]
pub struct Surveyor {
    folder: PathBuf,
    reader: LineReader,
    findings: Findings,
}

/// What was found in a file.
#[derive(Debug)]
pub struct Surveyed {
    /// What is wrong with its lines, and what they hold.
    pub validation: Validation,
    /// Errors whose line's text has yet to be read: their index, and their line's first byte.
    pub(super) unread: Vec<(usize, u64)>,
    /// The hashes of its inputs.
    pub fingerprint: Fingerprint,
}

impl Surveyor {
    /// A surveyor at the start of a file; what does not fit into memory goes into `folder`.
    pub fn new(folder: &Path) -> Self {
        let findings = Findings {
            validation: Validation::default(),
            errors: Errors::new(folder),
            describer: Describer::default(),
            inputs: Runs::new(folder),
            ids: Runs::new(folder),
            failure: None,
        };
        Self { folder: folder.to_owned(), reader: LineReader::new(), findings }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When the disk for what does not fit into memory fails.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.push(bytes, &mut |place, line| self.findings.take(place, line));
        self.findings.failure.take().map_or(Ok(()), Err)
    }

    /// Ends the file. A file without a line is an error of its own.
    ///
    /// # Errors
    /// When the disk for what does not fit into memory fails.
    pub fn finish(self) -> io::Result<Surveyed> {
        let Self { folder, reader, mut findings } = self;
        reader.finish(&mut |place, line| findings.take(place, line));
        findings.failure.take().map_or(Ok(()), Err)?;
        findings.finish(&folder)
    }
}

#[derive(Debug)]
struct Findings {
    validation: Validation,
    errors: Errors,
    describer: Describer,
    inputs: Runs,
    ids: Runs,
    /// A failure of the disk, on its way out of the reader's callback.
    failure: Option<io::Error>,
}

impl Findings {
    fn take(&mut self, place: LinePlace, line: Result<Example, LineError>) {
        self.validation.rows += 1;
        match line {
            Ok(example) => {
                let remembered = self.remember(place, &example);
                self.failure = self.failure.take().or(remembered.err());
                self.count(&example);
            }
            Err(error) => self.errors.add(error),
        }
    }

    fn remember(&mut self, place: LinePlace, example: &Example) -> io::Result<()> {
        let LinePlace { number: line, offset } = place;
        let label = example.label.as_deref().or(example.teacher_label.as_deref());
        let tag = tag(example.split, label.map(hash));
        self.inputs.push(Record { key: hash(&example.input) >> SPLIT_BITS, line, offset, tag })?;
        self.ids.push(Record { key: hash(&example.id), line, offset, tag: 0 })
    }

    fn count(&mut self, example: &Example) {
        let validation = &mut self.validation;
        validation.valid_rows += 1;
        validation.labeled_rows += u64::from(example.label.is_some());
        validation.teacher_labeled_rows += u64::from(example.teacher_label.is_some());
        validation.rationale_rows += u64::from(example.rationale.is_some());
        self.describer.take(example);
    }

    fn finish(mut self, folder: &Path) -> io::Result<Surveyed> {
        if self.validation.rows == 0 {
            let (code, message) = ("empty".to_owned(), "the file has no lines".to_owned());
            self.errors.add(LineError { line: 1, code, field: None, message, snippet: String::new() });
        }
        let mut fingerprint = Writer::create(folder)?;
        let repeats = repeats::inputs(self.inputs.sorted()?, &mut self.errors, &mut fingerprint)?;
        repeats::ids(self.ids.sorted()?, &mut self.errors)?;
        let mut statistics = self.describer.finish();
        statistics.duplicate_rows = repeats.duplicate_rows;
        statistics.conflicting_inputs = repeats.conflicting_inputs;
        let found = self.errors.finish()?;
        let mut validation = self.validation;
        validation.valid_rows -= found.late_lines;
        validation.errors = found.errors;
        validation.errors_truncated = found.truncated;
        validation.error_counts = found.counts;
        validation.statistics = Some(statistics);
        Ok(Surveyed { validation, unread: found.unread, fingerprint: fingerprint.finish()? })
    }
}

/// The first 8 bytes of a text's SHA-256. Two different ids of a file of 5 million rows share them once in more than a
/// million such files.
fn hash(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

#[cfg(test)]
#[path = "surveyor_tests.rs"]
mod tests;
