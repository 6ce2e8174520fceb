//! The Hub's cache on this disk, in the layout of `huggingface_hub`:
//!
//! ```text
//! .locks/models--owner--name/{digest}.lock       held by flock while that blob is written
//! models--owner--name/blobs/{digest}             a file's bytes; sha256 for large files, git's own digest for small ones
//!                    /refs/{revision}            the commit that a branch or tag meant when it was last looked up
//!                    /snapshots/{commit}/{file}  a link to ../../blobs/{digest}
//! ```

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::HubError;
use crate::{
    domain::{HubCommit, HubId},
    layout,
};

/// A model's files at one commit, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What was asked for.
    pub id: HubId,
    /// What its revision means.
    pub commit: HubCommit,
    /// The files, in Hugging Face's layout.
    pub folder: PathBuf,
}

/// The cache.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The model's files, where all that it needs is here.
    pub fn snapshot(&self, id: &HubId) -> Option<Snapshot> {
        let commit = id.commit().or_else(|| self.reference(id))?;
        let folder = self.snapshot_folder(id, &commit);
        layout::is_whole(&folder).then(|| Snapshot { id: id.clone(), commit, folder })
    }

    /// Every T5 that is whole here, by id.
    pub fn models(&self) -> Vec<Snapshot> {
        let mut found: Vec<Snapshot> = names_in(&self.root)
            .iter()
            .filter_map(|name| repository(name))
            .flat_map(|id| self.models_of(&id))
            .collect();
        found.sort_by(|one, other| one.id.cmp(&other.id));
        found
    }

    fn models_of(&self, id: &HubId) -> Vec<Snapshot> {
        let at = |revision: &str| format!("{}@{revision}", id.repository()).parse::<HubId>().ok();
        let named = references(&self.repository_folder(id).join("refs"), "");
        let named: Vec<Snapshot> = named.iter().filter_map(|name| self.snapshot(&at(name)?)).collect();
        let commits = names_in(&self.repository_folder(id).join("snapshots"));
        let unnamed = commits.iter().filter(|commit| !named.iter().any(|known| known.commit.as_str() == *commit));
        let unnamed: Vec<Snapshot> = unnamed.filter_map(|commit| self.snapshot(&at(commit)?)).collect();
        named.into_iter().chain(unnamed).filter(|snapshot| is_t5(&snapshot.folder)).collect()
    }

    fn reference(&self, id: &HubId) -> Option<HubCommit> {
        fs::read_to_string(self.reference_file(id)).ok()?.trim().parse().ok()
    }

    /// Notes what a branch or tag means.
    pub fn refer(&self, id: &HubId, commit: &HubCommit) -> Result<(), HubError> {
        if id.commit().is_some() || self.reference(id).as_ref() == Some(commit) {
            return Ok(());
        }
        let file = self.reference_file(id);
        let folder = file.parent().unwrap_or(&self.root);
        let write = || -> io::Result<()> {
            fs::create_dir_all(folder)?;
            // Whoever reads it meanwhile reads the old commit or the new one.
            // As readable as every other file of the cache, for whoever shares it.
            let mode = fs::Permissions::from_mode(0o666);
            let mut temporary = tempfile::Builder::new().prefix(".ref-").permissions(mode).tempfile_in(folder)?;
            io::Write::write_all(&mut temporary, commit.as_str().as_bytes())?;
            temporary.persist(&file).map(drop).map_err(|error| error.error)
        };
        write().map_err(cache_error(&file))
    }

    /// Whether a file of a commit is here.
    pub fn has(&self, id: &HubId, commit: &HubCommit, file: &str) -> bool {
        self.snapshot_folder(id, commit).join(file).is_file()
    }

    /// Gives a blob its name in a commit. Several processes may do it at once.
    pub fn link(&self, id: &HubId, commit: &HubCommit, file: &str, digest: &str) -> Result<(), HubError> {
        let folder = self.snapshot_folder(id, commit);
        let place = folder.join(file);
        let link = || -> io::Result<()> {
            fs::create_dir_all(&folder)?;
            // A link to a blob that was deleted by hand. Whoever else brings it may have removed it first.
            if place.is_symlink() && !place.exists() {
                fs::remove_file(&place).or_else(|error| match error.kind() {
                    io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                })?;
            }
            match symlink(Path::new("../../blobs").join(digest), &place) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && place.is_file() => Ok(()),
                linked => linked,
            }
        };
        link().map_err(cache_error(&place))
    }

    pub fn snapshot_folder(&self, id: &HubId, commit: &HubCommit) -> PathBuf {
        self.repository_folder(id).join("snapshots").join(commit.as_str())
    }

    pub fn blob(&self, id: &HubId, digest: &str) -> PathBuf {
        self.repository_folder(id).join("blobs").join(digest)
    }

    pub fn lock_file(&self, id: &HubId, digest: &str) -> PathBuf {
        self.root.join(".locks").join(folder_name(id)).join(format!("{digest}.lock"))
    }

    /// The folder of the whole cache.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn repository_folder(&self, id: &HubId) -> PathBuf {
        self.root.join(folder_name(id))
    }

    fn reference_file(&self, id: &HubId) -> PathBuf {
        self.repository_folder(id).join("refs").join(id.revision())
    }
}

pub fn cache_error(path: &Path) -> impl FnOnce(io::Error) -> HubError {
    let path = path.to_owned();
    move |source| HubError::Cache { path, source }
}

/// Neither part of an id has a double hyphen, so that it can be told from its folder again.
fn folder_name(id: &HubId) -> String {
    format!("models--{}--{}", id.owner(), id.name())
}

fn repository(folder: &str) -> Option<HubId> {
    let (owner, name) = folder.strip_prefix("models--")?.split_once("--")?;
    format!("{owner}/{name}").parse().ok()
}

/// The names in a folder, in order; none where there is no such folder.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Branches and tags below a folder, such as `main` and `refs/pr/1`.
fn references(folder: &Path, before: &str) -> Vec<String> {
    let name = |name: &String| format!("{before}{name}");
    let (folders, files): (Vec<String>, Vec<String>) =
        names_in(folder).into_iter().partition(|name| folder.join(name).is_dir());
    let inner = folders.iter().flat_map(|inner| references(&folder.join(inner), &format!("{}/", name(inner))));
    files.iter().map(name).chain(inner).collect()
}

/// Whether a folder's configuration is one of T5's. A cache may have models of any kind.
fn is_t5(folder: &Path) -> bool {
    #[derive(Deserialize)]
    struct Config {
        model_type: String,
    }
    let text = fs::read(folder.join(layout::CONFIG)).unwrap_or_default();
    serde_json::from_slice(&text).is_ok_and(|config: Config| layout::MODEL_TYPES.contains(&config.model_type.as_str()))
}
