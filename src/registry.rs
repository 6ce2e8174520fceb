//! Models by name: folders below `models_dir`, models of the Hub, and the checkpoints that distillations registered. The API and the
//! worker ask here, so that both mean the same model by the same name.
//!
//! What a name means, the first that fits:
//! 1. a folder below `models_dir`: what an operator puts there by hand wins, and is seen in `owned_by`;
//! 2. an id of the Hugging Face Hub, `owner/name` or `owner/name@revision`, no other name has a slash: what this machine's
//!    cache has of it. Nothing is downloaded here; a worker does that when a job begins, and `stepwise fetch`;
//! 3. an id: `job-…` is the model that this distillation made, `model-…` the model itself, `checkpoint-…` a checkpoint;
//! 4. a registered model's own name, or an alias: one table holds both, so a name is one or the other. An alias leads to
//!    what it pointed to when it was moved last, by id; where that is a folder, to the folder of that name, if it is there;
//! 5. `NAME:ckpt-step-N`: what the training that made the model of that name left after step N. While a training has made
//!    no model yet, its job's id stands for the name.
//!
//! Jobs store what a name meant when they were submitted, by id beside the name, so that a job that waits is changed neither
//! by an alias that is moved nor by a name that is given to something else.

mod card;
mod removal;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use card::Cards;
pub use card::{card, lineage, own_card};

use crate::{
    artifacts::{ArtifactError, Artifacts, discard_copy},
    domain::{
        Checkpoint, CheckpointId, HubId, JobId, Model, ModelFiles, ModelTarget, ProjectId, StudentCard, StudentSource,
    },
    hub::{Hub, Snapshot},
    layout,
    store::{Store, StoreError, WhichCheckpoint},
};

/// Why a model cannot be found or opened.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The folder lacks a file.
    #[error("the model {name:?} has no {file} in {path:?}")]
    Incomplete {
        /// The model.
        name: String,
        /// The missing file.
        file: &'static str,
        /// The folder.
        path: PathBuf,
    },
    /// `models_dir` or a file in it cannot be read.
    #[error("cannot read {path:?}")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder's `stepwise.json` is not what it should be.
    #[error("{path:?} is wrong: {message}")]
    BadCard {
        /// The file.
        path: PathBuf,
        /// The place and what would be right.
        message: String,
    },
    /// The checkpoint's files cannot be fetched.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Finds models; cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    store: Store,
    artifacts: Artifacts,
    models_dir: PathBuf,
    cache_dir: PathBuf,
    hub: Hub,
    cards: Arc<Cards>,
}

impl Registry {
    /// `cache_dir` keeps local copies of registered checkpoints.
    pub fn new(store: Store, artifacts: Artifacts, models_dir: PathBuf, cache_dir: PathBuf, hub: Hub) -> Self {
        Self { store, artifacts, models_dir, cache_dir, hub, cards: Arc::default() }
    }

    /// The Hub, for whoever may download.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The models of the Hub that are whole in this machine's cache, by id. All of that cache is walked, models of every kind,
    /// away from the runtime's own threads.
    pub async fn hub_models(&self) -> Result<Vec<StudentSource>, RegistryError> {
        let hub = self.hub.clone();
        let found = tokio::task::spawn_blocking(move || hub.models().into_iter().map(of_hub).collect()).await;
        let path = || self.hub.settings().cache.clone();
        found.map_err(|error| RegistryError::Unreadable { path: path(), source: io::Error::other(error) })
    }

    /// What this name means; see the head of this file.
    pub async fn find(&self, project: ProjectId, name: &str) -> Result<Option<StudentSource>, RegistryError> {
        if let Some(folder) = self.folder(name) {
            return Ok(Some(folder));
        }
        if let Ok(id) = name.parse::<HubId>() {
            return Ok(self.hub.cached(&id).map(of_hub));
        }
        // Neither a model nor an alias can have a name of this form.
        if name.parse::<CheckpointId>().is_ok() || Checkpoint::parse_name(name).is_some() {
            return self.checkpoint_by_name(project, name).await;
        }
        if let Some(model) = self.registered(project, name).await? {
            return Ok(Some(StudentSource::Registered(Box::new(model))));
        }
        match self.store.alias(project, name).await? {
            Some(alias) => self.target(project, &alias.target).await,
            None => Ok(None),
        }
    }

    /// What this name means to a job that stored `target` beside it. Without one it is the id of a distillation that had yet to
    /// make its model, or the job is older than targets are: then the name means what it means now.
    pub async fn find_for_job(
        &self,
        project: ProjectId,
        name: &str,
        target: Option<&ModelTarget>,
    ) -> Result<Option<StudentSource>, RegistryError> {
        match (target, name.parse::<JobId>()) {
            (Some(target), _) => self.target(project, target).await,
            (None, Ok(_)) => Ok(self.registered(project, name).await?.map(Box::new).map(StudentSource::Registered)),
            (None, Err(_)) => self.find(project, name).await,
        }
    }

    async fn target(&self, project: ProjectId, target: &ModelTarget) -> Result<Option<StudentSource>, RegistryError> {
        Ok(match target {
            ModelTarget::Folder(name) => self.folder(name),
            ModelTarget::Hub(id) => self.hub.cached(id).map(of_hub),
            ModelTarget::Checkpoint(id) => self.checkpoint(project, WhichCheckpoint::Id(*id)).await?,
            ModelTarget::Model(id) => {
                self.registered(project, &id.to_string()).await?.map(Box::new).map(StudentSource::Registered)
            }
        })
    }

    async fn registered(&self, project: ProjectId, name: &str) -> Result<Option<Model>, RegistryError> {
        Ok(match name.parse::<JobId>() {
            Ok(job) => self.store.model_of_job(project, job).await?,
            Err(_) => self.store.model(project, name).await?,
        })
    }

    async fn checkpoint_by_name(&self, project: ProjectId, name: &str) -> Result<Option<StudentSource>, RegistryError> {
        if let Ok(id) = name.parse::<CheckpointId>() {
            return self.checkpoint(project, WhichCheckpoint::Id(id)).await;
        }
        let Some((of, step)) = Checkpoint::parse_name(name) else { return Ok(None) };
        let job = match of.parse::<JobId>() {
            Ok(job) => Some(job),
            Err(_) => self.registered(project, of).await?.map(|model| model.job_id),
        };
        match job {
            Some(job) => self.checkpoint(project, WhichCheckpoint::Step(job, step)).await,
            None => Ok(None),
        }
    }

    async fn checkpoint(
        &self,
        project: ProjectId,
        which: WhichCheckpoint,
    ) -> Result<Option<StudentSource>, RegistryError> {
        let found = self.store.checkpoint(project, which).await?;
        Ok(found.map(|checkpoint| StudentSource::Checkpoint(Box::new(checkpoint))))
    }

    /// Names of the folders below `models_dir` that hold a model, sorted. A missing `models_dir` holds none.
    pub fn directory_names(&self) -> Result<Vec<String>, RegistryError> {
        let entries = match fs::read_dir(&self.models_dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(RegistryError::Unreadable { path: self.models_dir.clone(), source }),
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> =
            names.filter(|name| self.models_dir.join(name).join(layout::CONFIG).is_file()).collect();
        names.sort();
        Ok(names)
    }

    /// What tells the model's content from every other's; nothing is fetched for it.
    pub fn key(&self, source: &StudentSource) -> Result<String, RegistryError> {
        Ok(match source {
            StudentSource::Directory { path, .. } => directory_key(path)?,
            // Its folder is named by its commit, whose files never change.
            StudentSource::Hub { path, .. } => path.display().to_string(),
            StudentSource::Registered(model) => model.manifest_sha256.clone(),
            StudentSource::Checkpoint(found) => found.manifest_sha256.clone(),
        })
    }

    /// The model's files on the local disk, fetched and verified where needed.
    ///
    /// # Errors
    /// [`RegistryError::Incomplete`] names the first missing file.
    pub async fn open(&self, source: &StudentSource) -> Result<ModelFiles, RegistryError> {
        let key = self.key(source)?;
        let (directory, is_published) = match source {
            StudentSource::Directory { name, path } => {
                require_files(name, path)?;
                (path.clone(), false)
            }
            StudentSource::Hub { path, .. } => (path.clone(), false),
            StudentSource::Registered(model) => (self.fetch(&model.artifact_prefix, &key).await?, true),
            StudentSource::Checkpoint(found) => (self.fetch(&found.artifact_prefix, &key).await?, true),
        };
        let manifest_sha256 = is_published.then(|| key.clone());
        Ok(ModelFiles { name: source.name().to_owned(), key, directory, manifest_sha256 })
    }

    /// The model's files, and what it learned to be asked. A copy whose card is not what was published is thrown away and fetched
    /// anew, once; its other files are looked at when it is loaded.
    pub async fn open_with_card(
        &self,
        source: &StudentSource,
    ) -> Result<(ModelFiles, Arc<StudentCard>), RegistryError> {
        let files = self.open(source).await?;
        match self.cards.of(&files) {
            Err(RegistryError::Artifact(error)) if error.is_damaged_copy() => {
                tracing::warn!(model = files.name, %error, "a damaged copy of a model is fetched anew");
                discard_copy(&files.directory).await?;
                let files = self.open(source).await?;
                let card = self.cards.of(&files)?;
                Ok((files, card))
            }
            card => card.map(|card| (files, card)),
        }
    }

    async fn fetch(&self, prefix: &str, digest: &str) -> Result<PathBuf, RegistryError> {
        Ok(self.artifacts.fetch_directory(prefix, digest, &self.cache_dir).await?)
    }

    /// The folder of this name below `models_dir`, whatever it holds. A name is one plain path segment; anything else
    /// cannot be a folder of ours.
    pub fn folder(&self, name: &str) -> Option<StudentSource> {
        let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        let path = self.models_dir.join(name);
        (plain && path.is_dir()).then(|| StudentSource::Directory { name: name.to_owned(), path })
    }
}

fn of_hub(Snapshot { id, commit, folder }: Snapshot) -> StudentSource {
    StudentSource::Hub { name: id.to_string(), id, commit, path: folder }
}

fn require_files(name: &str, path: &Path) -> Result<(), RegistryError> {
    match layout::missing_files(path).into_iter().next() {
        Some(file) => Err(RegistryError::Incomplete { name: name.to_owned(), file, path: path.to_owned() }),
        None => Ok(()),
    }
}

/// A folder may be changed by hand; its files' names, sizes and times tell. Every file counts, whichever of them are loaded,
/// and none is read: this is asked before each prediction.
fn directory_key(path: &Path) -> Result<String, RegistryError> {
    let unreadable = |source| RegistryError::Unreadable { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        // Links are followed: an operator may keep large files elsewhere.
        let Ok(metadata) = fs::metadata(entry.path()) else { continue };
        if metadata.is_file() {
            let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let name = entry.file_name().to_string_lossy().into_owned();
            files.push((name, modified.unwrap_or_default().as_nanos(), metadata.len()));
        }
    }
    files.sort();
    let key = files.into_iter().map(|(name, modified, bytes)| format!("@{name}+{modified}+{bytes}"));
    Ok(format!("{}{}", path.display(), key.collect::<String>()))
}
