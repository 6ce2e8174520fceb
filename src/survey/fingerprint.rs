//! A file's inputs as sorted hashes, 8 bytes a different input: 60 bits of its SHA-256, and one bit for each split in which
//! it occurs. Two inputs of different text share a hash with a probability below 1 in 10 million in files of 100,000
//! rows each.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

use tempfile::NamedTempFile;

/// The lowest bits of an entry say in which splits the input occurs.
pub(super) const SPLIT_BITS: u32 = 4;

/// Where a file's fingerprint lies: beside the file.
pub fn fingerprint_key(artifact_key: &str) -> String {
    format!("{artifact_key}.fingerprint")
}

/// A fingerprint on the local disk, removed when it is dropped.
#[derive(Debug)]
pub struct Fingerprint(NamedTempFile);

impl Fingerprint {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// A fingerprint being written, hash after hash in ascending order.
#[derive(Debug)]
pub(super) struct Writer(BufWriter<NamedTempFile>);

impl Writer {
    pub fn create(folder: &Path) -> io::Result<Self> {
        let file = tempfile::Builder::new().prefix("fingerprint-").tempfile_in(folder)?;
        Ok(Self(BufWriter::new(file)))
    }

    pub fn push(&mut self, hash: u64, splits: u8) -> io::Result<()> {
        let entry = hash << SPLIT_BITS | u64::from(splits);
        self.0.write_all(&entry.to_le_bytes())
    }

    pub fn finish(self) -> io::Result<Fingerprint> {
        self.0.into_inner().map(Fingerprint).map_err(io::IntoInnerError::into_error)
    }
}
