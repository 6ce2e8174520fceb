//! Records sorted in bounded memory: a full buffer is sorted and written to an unnamed temporary file as a run; at the end
//! all runs are merged, each read through a small window.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, Write},
    mem::size_of,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// What is remembered of a row until the end of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    /// A hash; records are sorted by it.
    pub key: u64,
    /// The line's number.
    pub line: u64,
    /// The line's first byte in the file.
    pub offset: u64,
    /// What goes with it.
    pub tag: u64,
}

const RECORD_BYTES: usize = size_of::<Record>();
/// Records in memory before they become a run: 4 MiB.
const RUN_RECORDS: usize = 1 << 17;
/// Records of a run in memory while it is merged: 16 KiB.
const WINDOW_RECORDS: usize = 1 << 9;

/// Records on their way to be sorted.
#[derive(Debug)]
pub(super) struct Runs {
    folder: PathBuf,
    run_records: usize,
    buffer: Vec<Record>,
    file: Option<File>,
    /// Records in each run on disk, in order.
    lengths: Vec<usize>,
}

impl Runs {
    /// None yet; what does not fit into memory goes into `folder`.
    pub fn new(folder: &Path) -> Self {
        Self::with_run_records(folder, RUN_RECORDS)
    }

    fn with_run_records(folder: &Path, run_records: usize) -> Self {
        Self { folder: folder.to_owned(), run_records, buffer: Vec::new(), file: None, lengths: Vec::new() }
    }

    /// Takes a record.
    pub fn push(&mut self, record: Record) -> io::Result<()> {
        self.buffer.push(record);
        if self.buffer.len() >= self.run_records { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.buffer.sort_unstable();
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile_in(&self.folder)?),
        };
        let mut writer = io::BufWriter::with_capacity(1 << 16, file);
        for record in &self.buffer {
            writer.write_all(&record.to_bytes())?;
        }
        writer.flush()?;
        self.lengths.push(self.buffer.len());
        self.buffer.clear();
        Ok(())
    }

    /// All records, in order.
    pub fn sorted(mut self) -> io::Result<Sorted> {
        self.buffer.sort_unstable();
        let mut windows = Vec::with_capacity(self.lengths.len() + 1);
        let mut next = 0;
        for length in &self.lengths {
            windows.push(Window { next, end: next + length, records: Vec::new().into_iter() });
            next += length;
        }
        windows.push(Window { next, end: next, records: self.buffer.into_iter() });
        let mut sorted = Sorted { file: self.file, windows, heads: BinaryHeap::new() };
        (0..sorted.windows.len()).try_for_each(|run| sorted.advance(run))?;
        Ok(sorted)
    }
}

impl Record {
    fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let values = [self.key, self.line, self.offset, self.tag];
        bytes.chunks_exact_mut(8).zip(values).for_each(|(place, value)| place.copy_from_slice(&value.to_le_bytes()));
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let value = |index: usize| {
            let place = &bytes[8 * index..8 * (index + 1)];
            u64::from_le_bytes(place.try_into().expect("the slice is 8 bytes long"))
        };
        Self { key: value(0), line: value(1), offset: value(2), tag: value(3) }
    }
}

/// The unread rest of a run.
#[derive(Debug)]
struct Window {
    /// The next record in the file, counted over all runs.
    next: usize,
    end: usize,
    records: std::vec::IntoIter<Record>,
}

/// Merged records, smallest first.
#[derive(Debug)]
pub(super) struct Sorted {
    file: Option<File>,
    windows: Vec<Window>,
    heads: BinaryHeap<Reverse<(Record, usize)>>,
}

impl Sorted {
    /// The next record.
    pub fn next(&mut self) -> io::Result<Option<Record>> {
        let Some(Reverse((record, run))) = self.heads.pop() else { return Ok(None) };
        self.advance(run)?;
        Ok(Some(record))
    }

    fn advance(&mut self, run: usize) -> io::Result<()> {
        let window = &mut self.windows[run];
        if let (Some(file), true) = (&self.file, window.records.as_slice().is_empty() && window.next < window.end) {
            let count = WINDOW_RECORDS.min(window.end - window.next);
            let mut bytes = vec![0; count * RECORD_BYTES];
            file.read_exact_at(&mut bytes, (window.next * RECORD_BYTES) as u64)?;
            let records: Vec<_> = bytes.chunks_exact(RECORD_BYTES).map(Record::from_bytes).collect();
            window.next += count;
            window.records = records.into_iter();
        }
        self.heads.extend(window.records.next().map(|record| Reverse((record, run))));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_order_whether_they_fit_into_memory_or_not() {
        let folder = tempfile::tempdir().unwrap();
        for run_records in [3, 700, 1 << 17] {
            let mut runs = Runs::with_run_records(folder.path(), run_records);
            for line in 0..2000u64 {
                let key = line.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 50;
                runs.push(Record { key, line, offset: u64::MAX - line, tag: 7 }).unwrap();
            }
            assert!(runs.buffer.len() < run_records);
            let (mut sorted, mut last, mut count) = (runs.sorted().unwrap(), None, 0);
            while let Some(record) = sorted.next().unwrap() {
                assert!(last <= Some((record.key, record.line)), "{run_records}");
                assert_eq!((record.offset, record.tag), (u64::MAX - record.line, 7));
                last = Some((record.key, record.line));
                count += 1;
            }
            assert_eq!(count, 2000);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "runs have no name");
    }
}
