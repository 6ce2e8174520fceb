//! The list that makes a folder of files whole: written last, so that a folder without one does not count.

use serde::{Deserialize, Serialize};

use super::ArtifactError;

/// The name of the manifest inside its folder.
pub(super) const MANIFEST: &str = "manifest.json";

/// What a published folder holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its files, by name.
    pub files: Vec<ManifestFile>,
}

/// One file of a published folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Its name; never a path.
    pub name: String,
    /// Its size.
    pub bytes: i64,
    /// The digest of its bytes, in hexadecimal.
    pub sha256: String,
}

/// What publishing a folder gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The digest of the manifest, which through it is the digest of every file.
    pub manifest_sha256: String,
    /// The size of all files.
    pub bytes: i64,
}

impl Manifest {
    /// Reads a manifest, and refuses one that must not be followed.
    pub(super) fn read(folder: &str, text: &[u8]) -> Result<Self, ArtifactError> {
        let broken = |reason: String| ArtifactError::BrokenManifest { prefix: folder.to_owned(), reason };
        let manifest: Self = serde_json::from_slice(text).map_err(|error| broken(error.to_string()))?;
        manifest.fault().map_or(Ok(manifest), |fault| Err(broken(fault)))
    }

    /// Why this manifest must not be followed, if so: a name that is a path could leave the folder.
    pub(super) fn fault(&self) -> Option<String> {
        let bad = self.files.iter().find(|file| {
            file.name.is_empty()
                || file.name.starts_with('.')
                || file.name.contains(['/', '\\', '\0'])
                || file.name == MANIFEST
        });
        bad.map(|file| format!("{:?} is not a plain file name", file.name))
    }
}
