//! A file's inputs as sorted hashes, 8 bytes a different input: 60 bits of its SHA-256, and one bit for each split in which
//! it occurs. Two inputs of different text share a hash with a probability below 1 in 10 million in files of 100,000
//! rows each.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use tempfile::NamedTempFile;

use crate::artifacts::{ArtifactError, Artifacts, untouched_since};

/// The lowest bits of an entry say in which splits the input occurs.
pub(super) const SPLIT_BITS: u32 = 4;

/// What a stored fingerprint's name ends with.
const ENDING: &str = ".fingerprint";
/// What the name of one begins with that is being written.
const WRITING: &str = "fingerprint-";

/// Where a file's fingerprint lies: beside the file.
pub fn fingerprint_key(artifact_key: &str) -> String {
    format!("{artifact_key}{ENDING}")
}

/// The file that this key, if it is a fingerprint's, is about; else the key itself.
pub fn file_key(key: &str) -> &str {
    key.strip_suffix(ENDING).unwrap_or(key)
}

/// Removes a stored file with its fingerprint. Missing ones are not an error.
pub async fn remove_file(artifacts: &Artifacts, artifact_key: &str) -> Result<(), ArtifactError> {
    artifacts.delete(&fingerprint_key(artifact_key)).await?;
    artifacts.delete(artifact_key).await
}

/// Fingerprints that killed processes left half-written in `folder`, and that nobody has written to since.
pub fn half_written(folder: &Path, before: SystemTime) -> io::Result<Vec<PathBuf>> {
    let entries = untouched_since(folder, before)?.into_iter();
    Ok(entries.filter(|(name, _)| name.starts_with(WRITING)).map(|(_, path)| path).collect())
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
        let file = tempfile::Builder::new().prefix(WRITING).tempfile_in(folder)?;
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
