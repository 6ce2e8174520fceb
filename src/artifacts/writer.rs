//! A file on its way into the store: counted and hashed while it streams.

use object_store::{MultipartUpload, WriteMultipart};
use sha2::{Digest, Sha256};

use super::{ArtifactError, store_error};

/// Parts in flight at once; with parts of 5 MiB this bounds an upload's memory at some 10 MiB.
const PARTS_IN_FLIGHT: usize = 2;

/// An open key. Dropping it without [`finish`](Self::finish) leaves nothing visible; [`abort`](Self::abort) also removes
/// what was staged.
#[derive(Debug)]
pub struct ArtifactWriter {
    key: String,
    upload: WriteMultipart,
    digest: Sha256,
    bytes: u64,
}

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its size.
    pub bytes: i64,
    /// The digest of its bytes, in hexadecimal.
    pub sha256: String,
}

impl ArtifactWriter {
    pub(super) fn new(key: String, upload: Box<dyn MultipartUpload>) -> Self {
        Self { key, upload: WriteMultipart::new(upload), digest: Sha256::new(), bytes: 0 }
    }

    /// Appends bytes, waiting while too many parts are in flight.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ArtifactError> {
        self.upload.wait_for_capacity(PARTS_IN_FLIGHT).await.map_err(|source| store_error(&self.key, source))?;
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.upload.write(bytes);
        Ok(())
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the file visible and durable.
    pub async fn finish(self) -> Result<Stored, ArtifactError> {
        let Self { key, upload, digest, bytes } = self;
        upload.finish().await.map_err(|source| store_error(&key, source))?;
        Ok(Stored { bytes: bytes.try_into().unwrap_or(i64::MAX), sha256: hex(&digest.finalize()) })
    }

    /// Gives the file up.
    pub async fn abort(self) -> Result<(), ArtifactError> {
        self.upload.abort().await.map_err(|source| store_error(&self.key, source))
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
