//! What is wrong with a file: every error counted, the first hundred kept.

use std::{collections::BTreeMap, io, path::Path};

use super::runs::{Record, Runs};
use crate::domain::LineError;

/// Errors that a validation keeps.
const MAX_ERRORS: usize = 100;

/// An error with the place of its line, where its text has yet to be read.
#[derive(Debug)]
pub(super) struct Late {
    pub error: LineError,
    pub offset: u64,
}

/// The errors of a file.
#[derive(Debug)]
pub(super) struct Errors {
    /// In the order of lines, as they were met.
    prompt: Vec<LineError>,
    /// Found when all rows were compared, in no order.
    late: Vec<Late>,
    counts: BTreeMap<String, u64>,
    /// Lines that have late errors: one that has two comes twice.
    late_lines: Runs,
}

/// All errors, to be shown.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The first of them, by line.
    pub errors: Vec<LineError>,
    /// Places of lines whose text has yet to be read: the error's index and the line's first byte.
    pub unread: Vec<(usize, u64)>,
    pub counts: BTreeMap<String, u64>,
    pub truncated: bool,
    /// Lines that have late errors alone.
    pub late_lines: u64,
}

impl Errors {
    /// None yet; what does not fit into memory goes into `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { prompt: Vec::new(), late: Vec::new(), counts: BTreeMap::new(), late_lines: Runs::new(folder) }
    }

    /// Takes an error that its line alone shows.
    pub fn add(&mut self, error: LineError) {
        self.count(&error.code);
        if self.prompt.len() < MAX_ERRORS {
            self.prompt.push(error);
        }
    }

    /// Takes an error of a line that is good by itself.
    pub fn add_late(&mut self, late: Late) -> io::Result<()> {
        self.count(&late.error.code);
        self.late_lines.push(Record { key: late.error.line, line: late.error.line, offset: late.offset, tag: 0 })?;
        self.late.push(late);
        // Sorted seldom, so that each error costs little; cut, so that memory does not grow with their number.
        if self.late.len() >= 4 * MAX_ERRORS {
            self.cut();
        }
        Ok(())
    }

    /// All of them.
    pub fn finish(mut self) -> io::Result<Found> {
        self.cut();
        let late_lines = different_lines(self.late_lines)?;
        let offsets = self.prompt.into_iter().map(|error| (error, None));
        let mut all: Vec<_> =
            offsets.chain(self.late.into_iter().map(|late| (late.error, Some(late.offset)))).collect();
        all.sort_by_key(|(error, _)| error.line);
        all.truncate(MAX_ERRORS);
        let unread = all.iter().enumerate().filter_map(|(index, (_, offset))| offset.map(|offset| (index, offset)));
        let total: u64 = self.counts.values().sum();
        Ok(Found {
            unread: unread.collect(),
            truncated: total > all.len() as u64,
            errors: all.into_iter().map(|(error, _)| error).collect(),
            counts: self.counts,
            late_lines,
        })
    }

    fn count(&mut self, code: &str) {
        match self.counts.get_mut(code) {
            Some(count) => *count += 1,
            None => drop(self.counts.insert(code.to_owned(), 1)),
        }
    }

    fn cut(&mut self) {
        self.late.sort_by_key(|late| late.error.line);
        self.late.truncate(MAX_ERRORS);
    }
}

fn different_lines(lines: Runs) -> io::Result<u64> {
    let (mut sorted, mut last, mut count) = (lines.sorted()?, None, 0);
    while let Some(record) = sorted.next()? {
        count += u64::from(last != Some(record.line));
        last = Some(record.line);
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: u64, code: &str) -> LineError {
        let (code, message, snippet) = (code.to_owned(), String::new(), String::new());
        LineError { line, code, field: None, message, snippet }
    }

    #[test]
    fn late_errors_are_shown_among_the_others_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut errors = Errors::new(folder.path());
        errors.add(error(2, "a"));
        errors.add(error(5, "a"));
        for line in [9, 3, 3] {
            errors.add_late(Late { error: error(line, "b"), offset: 10 * line }).unwrap();
        }
        let found = errors.finish().unwrap();
        assert_eq!(found.errors.iter().map(|error| error.line).collect::<Vec<_>>(), [2, 3, 3, 5, 9]);
        assert_eq!((found.unread, found.truncated), (vec![(1, 30), (2, 30), (4, 90)], false));
        assert_eq!((found.late_lines, found.counts["a"], found.counts["b"]), (2, 2, 3));
    }

    #[test]
    fn of_countless_errors_the_first_hundred_lines_stay() {
        let folder = tempfile::tempdir().unwrap();
        let mut errors = Errors::new(folder.path());
        for line in (1..=5000).rev() {
            errors.add_late(Late { error: error(line, "b"), offset: line }).unwrap();
            assert!(errors.late.len() < 4 * MAX_ERRORS);
        }
        let found = errors.finish().unwrap();
        assert_eq!(found.errors.iter().map(|error| error.line).collect::<Vec<_>>(), (1..=100).collect::<Vec<_>>());
        assert_eq!((found.truncated, found.counts["b"], found.late_lines), (true, 5000, 5000));
    }

    #[test]
    fn an_error_costs_the_same_wherever_its_line_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut errors = Errors::new(folder.path());
        // A bit for each line before this one would be a hundred terabytes.
        for line in [1 << 50, 1 << 50, 7] {
            errors.add_late(Late { error: error(line, "b"), offset: line }).unwrap();
        }
        assert_eq!(errors.finish().unwrap().late_lines, 2);
    }
}
