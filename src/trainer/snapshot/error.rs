//! Why a snapshot could not be written or must not be continued from. Every message names the file.

use std::io;
use std::path::PathBuf;

/// What is wrong with a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file of it cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of it is not what was written.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It is whole, but not of this training.
    #[error("{}: it belongs to a training with another spec", path.display())]
    OtherSpec {
        /// Its manifest.
        path: PathBuf,
    },
}

impl SnapshotError {
    /// An error of the system at a file.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// A snapshot of a training that has nothing left to do: none is taken there.
    pub fn after_the_end() -> Self {
        Self::damaged("snapshot.json", "has more rounds than the training")
    }

    /// Whether the machine was at fault and not the snapshot: too many open files, a disk that does not answer. The same
    /// snapshot may be read at the next try.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::File { source, .. } => !is_of_the_file(source.kind()),
            Self::Damaged { .. } | Self::OtherSpec { .. } => false,
        }
    }

    /// A file with a wrong content.
    pub fn damaged(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::Damaged { path: path.into(), reason: reason.to_string() }
    }
}

/// Whether an error says that the file itself is missing or wrong.
fn is_of_the_file(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidData, IsADirectory, NotADirectory, NotFound, UnexpectedEof};
    matches!(kind, NotFound | IsADirectory | NotADirectory | UnexpectedEof | InvalidData)
}
