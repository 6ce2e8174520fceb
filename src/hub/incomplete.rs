//! A blob that is being written: `{digest}.incomplete`, the lock on its digest, and the sha256 of what is there.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use super::{HubError, cache::cache_error, remote::RemoteFile};

const CHUNK_BYTES: usize = 1 << 20;

/// A blob under way. It holds its lock, so that no other writer begins before a write of this one has ended, even where whoever
/// wanted it has gone in the midst of that write.
#[derive(Debug)]
pub struct Incomplete {
    file: File,
    path: PathBuf,
    sha256: Sha256,
    bytes: u64,
    _lock: File,
}

impl Incomplete {
    /// Opens what an earlier download left, or begins. What is longer than the whole is no part of it, and what could not be
    /// verified in the end is begun anew: a file without a sha256 is a small one.
    pub async fn open(blob: PathBuf, expected: &RemoteFile, lock: File) -> Result<Self, HubError> {
        let (whole, is_verified) = (expected.bytes, expected.sha256().is_some());
        blocking(blob.with_extension("incomplete"), move |path| {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
            let mut found = Self { file, path: path.to_owned(), sha256: Sha256::new(), bytes: 0, _lock: lock };
            let is_part = is_verified && found.file.metadata()?.len() <= whole;
            if is_part {
                found.take_in()?
            } else {
                found.clear()?
            }
            Ok(found)
        })
        .await
    }

    /// Bytes that are there.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds bytes at the end.
    pub async fn append(mut self, bytes: Vec<u8>) -> Result<Self, HubError> {
        blocking(self.path.clone(), move |_| {
            self.file.write_all(&bytes)?;
            self.sha256.update(&bytes);
            self.bytes += bytes.len() as u64;
            Ok(self)
        })
        .await
    }

    /// Throws away what is there.
    pub async fn restart(mut self) -> Result<Self, HubError> {
        blocking(self.path.clone(), move |_| self.clear().map(|()| self)).await
    }

    /// Gives the blob its name, when its bytes are durable. Damaged, it is thrown away.
    pub async fn seal(self, blob: &Path, expected: &RemoteFile) -> Result<(), HubError> {
        if let Some(reason) = self.damage(expected) {
            blocking(self.path.clone(), |path| fs::remove_file(path)).await?;
            return Err(HubError::Damaged { file: expected.name.clone(), reason });
        }
        let blob = blob.to_owned();
        blocking(self.path.clone(), move |path| {
            self.file.sync_all()?;
            fs::rename(path, &blob)?;
            blob.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        })
        .await
    }

    fn damage(&self, expected: &RemoteFile) -> Option<String> {
        if self.bytes != expected.bytes {
            return Some(format!("it has {} bytes instead of {}", self.bytes, expected.bytes));
        }
        let found: String = self.sha256.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let right = expected.sha256()?;
        (found != right).then(|| format!("its sha256 is {found} instead of {right}"))
    }

    /// Reads what is there; the file then stands at its end.
    fn take_in(&mut self) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = self.file.read(&mut chunk)?;
            if read == 0 {
                return Ok(());
            }
            self.sha256.update(&chunk[..read]);
            self.bytes += read as u64;
        }
    }

    fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        (self.sha256, self.bytes) = (Sha256::new(), 0);
        Ok(())
    }
}

/// Work on the disk away from the runtime's own threads.
async fn blocking<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, HubError> {
    let named = path.clone();
    let done = spawn_blocking(move || work(&named)).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(cache_error(&path))
}
