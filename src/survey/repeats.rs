//! What only all rows together show: ids that are used twice, inputs that come again, inputs that two splits share.

use std::io;

use super::{
    errors::{Errors, Late},
    fingerprint::Writer,
    runs::{Record, Sorted},
};
use crate::domain::{LineError, Split};

/// A row's split and label in one number: the split in the lowest byte, above it 56 bits of the label's hash, 0 for none.
pub(super) fn tag(split: Option<Split>, label_hash: Option<u64>) -> u64 {
    let split = split.map_or(0, |split| 1 + split as u64);
    label_hash.map_or(0, |hash| hash << 8 | 1 << 8) | split
}

fn split_of(tag: u64) -> Option<Split> {
    let index = usize::try_from(tag & 0xFF).unwrap_or(0);
    index.checked_sub(1).and_then(|index| Split::ALL.get(index).copied())
}

/// Every later row with an id that an earlier one has is an error.
pub(super) fn ids(mut sorted: Sorted, errors: &mut Errors) -> io::Result<()> {
    let mut first: Option<Record> = None;
    while let Some(record) = sorted.next()? {
        match first {
            Some(first) if first.key == record.key => {
                let message = format!("line {} has the same id; ids must be unique in a file", first.line);
                errors.add_late(late(record, "duplicate_id", "id", message))?;
            }
            _ => first = Some(record),
        }
    }
    Ok(())
}

/// Repeated inputs, counted.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Repeats {
    /// Rows whose input an earlier row has.
    pub duplicate_rows: u64,
    /// Inputs with several labels.
    pub conflicting_inputs: u64,
}

/// Looks at equal inputs together, and writes each input's hash down.
pub(super) fn inputs(mut sorted: Sorted, errors: &mut Errors, fingerprint: &mut Writer) -> io::Result<Repeats> {
    let mut repeats = Repeats::default();
    let mut group: Option<Group> = None;
    while let Some(record) = sorted.next()? {
        match &mut group {
            Some(group) if group.key == record.key => {
                repeats.duplicate_rows += 1;
                repeats.conflicting_inputs += u64::from(group.conflicts(record));
                group.check_split(record, errors)?;
            }
            _ => {
                if let Some(done) = group.replace(Group::of(record)) {
                    fingerprint.push(done.key, done.splits)?;
                }
            }
        }
    }
    if let Some(done) = group {
        fingerprint.push(done.key, done.splits)?;
    }
    Ok(repeats)
}

/// Rows of one input so far.
struct Group {
    key: u64,
    /// The first label's hash; 0 while no row had one.
    label: u64,
    in_conflict: bool,
    /// The first row that names a split.
    placed: Option<(u64, Split)>,
    /// A bit for each split met, the lowest for rows without one.
    splits: u8,
}

impl Group {
    fn of(record: Record) -> Self {
        let split = split_of(record.tag);
        let placed = split.map(|split| (record.line, split));
        Self { key: record.key, label: record.tag >> 8, in_conflict: false, placed, splits: bit(split) }
    }

    /// Whether this row is the first whose label is another one.
    fn conflicts(&mut self, record: Record) -> bool {
        let label = record.tag >> 8;
        if self.label == 0 {
            self.label = label;
        }
        let first = !self.in_conflict && label != 0 && label != self.label;
        self.in_conflict |= first;
        first
    }

    fn check_split(&mut self, record: Record, errors: &mut Errors) -> io::Result<()> {
        let split = split_of(record.tag);
        self.splits |= bit(split);
        let Some(split) = split else { return Ok(()) };
        match self.placed {
            None => self.placed = Some((record.line, split)),
            Some((line, other)) if other != split => {
                let (own, other) = (split.as_str(), other.as_str());
                let message =
                    format!("line {line} has the same input under the split {other:?}, this one under {own:?}");
                errors.add_late(late(record, "split_leak", "split", message))?;
            }
            Some(_) => {}
        }
        Ok(())
    }
}

/// The bit of a split in a fingerprint's entry.
pub(super) fn bit(split: Option<Split>) -> u8 {
    split.map_or(1, |split| 2 << split as u8)
}

fn late(record: Record, code: &str, field: &str, message: String) -> Late {
    let (code, field) = (code.to_owned(), Some(field.to_owned()));
    let error = LineError { line: record.line, code, field, message, snippet: String::new() };
    Late { error, offset: record.offset }
}
