//! Files that outlive a process: uploads, annotation outputs, checkpoints. They lie in an object store, by default a
//! local folder with every write fsynced. It knows keys and bytes, never jobs or SQL.
//!
//! The order that holds everywhere: the file first, the row that names it second. A crash between the two leaves an
//! orphan file, never a row that points at nothing.

mod directory;
mod leftovers;
mod local_copy;
mod manifest;
mod named_blobs;
mod writer;

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, local::LocalFileSystem, path::Path as Key};

pub use leftovers::{Listed, half_copies, remove_local, untouched_since};
pub use local_copy::{check_copy, discard_copy, discard_copy_blocking, read_published};
pub use manifest::{Manifest, ManifestFile, Published};
pub use named_blobs::check_named_blobs;
pub use writer::{ArtifactWriter, Stored};

/// What can go wrong with a stored file.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// Nothing lies under this key.
    #[error("artifact {key:?} does not exist")]
    Missing {
        /// The key.
        key: String,
    },
    /// The bytes are not those that were published.
    #[error("artifact {key:?} is corrupt: sha256 {found}, expected {expected}")]
    Corrupt {
        /// The key.
        key: String,
        /// The digest of the bytes that are there.
        found: String,
        /// The digest of the bytes that were published.
        expected: String,
    },
    /// A manifest that cannot be read, or that names a file outside its folder.
    #[error("manifest of {prefix:?} is broken: {reason}")]
    BrokenManifest {
        /// The folder.
        prefix: String,
        /// What is wrong.
        reason: String,
    },
    /// The store failed.
    #[error("artifact store failed at {key:?}")]
    Store {
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// A local file failed.
    #[error("file {path:?} failed")]
    Local {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ArtifactError {
    /// Whether it says of a copy on this machine that it is not what was published, whoever reads it: then it is worth nothing, and
    /// may be thrown away. A copy that could not be read (too many open files, a disk that fails, rights that are missing) may be
    /// whole.
    pub fn is_damaged_copy(&self) -> bool {
        match self {
            Self::Corrupt { .. } | Self::BrokenManifest { .. } => true,
            Self::Local { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Missing { .. } | Self::Store { .. } => false,
        }
    }
}

/// A handle to the object store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Artifacts {
    store: Arc<dyn ObjectStore>,
    /// Where the store has its files.
    folder: PathBuf,
}

impl Artifacts {
    /// A store in a local folder, which is made if it is missing.
    pub fn local(root: &Path) -> Result<Self, ArtifactError> {
        let local = |source| ArtifactError::Local { path: root.to_owned(), source };
        fs::create_dir_all(root).map_err(local)?;
        let store =
            LocalFileSystem::new_with_prefix(root).map_err(|source| store_error(&root.to_string_lossy(), source))?;
        let store = Arc::new(store.with_fsync(true).with_automatic_cleanup(true));
        Ok(Self { store, folder: root.to_owned() })
    }

    /// Opens a key for streaming; nothing is visible under it until [`ArtifactWriter::finish`].
    pub async fn writer(&self, key: &str) -> Result<ArtifactWriter, ArtifactError> {
        let upload = self.store.put_multipart(&Key::from(key)).await.map_err(|source| store_error(key, source))?;
        Ok(ArtifactWriter::new(key.to_owned(), upload))
    }

    /// Stores a small file in one go.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<Stored, ArtifactError> {
        let mut writer = self.writer(key).await?;
        writer.write(&bytes).await?;
        writer.finish().await
    }

    /// Streams the bytes under a key; the error of a missing key comes at once, not in the stream.
    pub async fn read(
        &self,
        key: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, ArtifactError>> + Send + Unpin + use<>, ArtifactError> {
        let found = self.store.get(&Key::from(key)).await.map_err(|source| store_error(key, source))?;
        let key = key.to_owned();
        Ok(found.into_stream().map_err(move |source| store_error(&key, source)).boxed())
    }

    /// Streams some of the bytes under a key, as far as there are any.
    pub async fn read_range(
        &self,
        key: &str,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes, ArtifactError>> + Send + Unpin + use<>, ArtifactError> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let found = self.store.get_opts(&Key::from(key), options).await.map_err(|source| store_error(key, source))?;
        let key = key.to_owned();
        Ok(found.into_stream().map_err(move |source| store_error(&key, source)).boxed())
    }

    /// Removes a key; a missing one is not an error.
    pub async fn delete(&self, key: &str) -> Result<(), ArtifactError> {
        match self.store.delete(&Key::from(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(store_error(key, source)),
        }
    }
}

fn store_error(key: &str, source: object_store::Error) -> ArtifactError {
    match source {
        object_store::Error::NotFound { .. } => ArtifactError::Missing { key: key.to_owned() },
        source => ArtifactError::Store { key: key.to_owned(), source },
    }
}
