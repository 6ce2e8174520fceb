//! What can be wrong with a student's files.

use std::io;
use std::path::{Path, PathBuf};

/// Why a student could not be read or written. Every message names the file or the tensor at fault.
#[derive(Debug, thiserror::Error)]
pub enum StudentError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A file that a student must have is not there.
    #[error("{}: there is no {name} here{hint}", directory.display())]
    Missing {
        /// The student's folder.
        directory: PathBuf,
        /// The file's name.
        name: &'static str,
        /// What was found instead and what would be right, or nothing.
        hint: String,
    },
    /// A file is there and does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A configuration that no T5 can have.
    #[error("the student's configuration: {0}")]
    Config(String),
    /// Tensors that do not make up the T5 that the configuration describes.
    #[error("the student's weights: {0}")]
    Weights(String),
    /// A tokenizer that does not fit a T5.
    #[error("the student's tokenizer: {0}")]
    Tokenizer(String),
}

impl StudentError {
    /// An error of the operating system at a file.
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::File { path, source }
    }

    /// A file with a wrong content.
    pub(super) fn malformed(path: &Path, reason: impl ToString) -> Self {
        Self::Malformed { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// Whether a file is there. One that nobody can tell of is not taken for one that is missing.
pub(super) fn is_there(path: &Path) -> Result<bool, StudentError> {
    path.try_exists().map_err(StudentError::file(path))
}
