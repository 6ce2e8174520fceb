//! A model's files on this machine.

use std::path::PathBuf;

/// A model by its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFiles {
    /// Its own name, by which it is counted and logged.
    pub name: String,
    /// Tells its content from every other's, such as the digest of its manifest: a loaded model is found again by it.
    pub key: String,
    /// The folder, in Hugging Face's layout.
    pub directory: PathBuf,
    /// The digest of the manifest that the folder's files are held to before they are believed; none where nobody published them.
    pub manifest_sha256: Option<String>,
}

impl ModelFiles {
    /// A folder that nobody published and that does not change.
    pub fn folder(name: &str, directory: PathBuf) -> Self {
        Self { name: name.to_owned(), key: name.to_owned(), directory, manifest_sha256: None }
    }
}
