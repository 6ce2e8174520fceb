//! Models that a request names.

use std::{fs, path::Path, time::UNIX_EPOCH};

use serde_json::{Map, Value};

use super::Refusals;
use crate::{
    api::{ProjectState, error::ApiError, extract::nearest, list::MAX_LIMIT},
    domain::{
        Checkpoint, CheckpointId, HubId, ID_PREFIXES, JobSpec, JobWarning, ModelId, ModelTarget, StudentSource,
        TaskDefinition,
    },
    layout,
    registry::Registry,
    store::NewJob,
};

/// A model by its name, an alias, its id, or the id of the distillation that made it.
pub async fn find(state: &ProjectState, name: &str) -> Result<Option<StudentSource>, ApiError> {
    Ok(state.registry.find(state.project, name).await?)
}

/// The registered models and checkpoints that a job keeps from being deleted until it is over, and what is to be said of the
/// others.
#[derive(Debug, Default)]
pub struct Pins {
    models: Vec<ModelId>,
    checkpoints: Vec<CheckpointId>,
    warnings: Vec<JobWarning>,
}

impl Pins {
    /// Adds what a request names, however it names it. Returns what the job stores: the name that people know it by, and
    /// what that means.
    pub fn add(&mut self, registry: &Registry, source: &StudentSource) -> (String, ModelTarget) {
        match source {
            StudentSource::Directory { .. } | StudentSource::Hub { .. } => {}
            StudentSource::Registered(model) => self.models.push(model.id),
            StudentSource::Checkpoint(checkpoint) => self.checkpoints.push(checkpoint.id),
        }
        // Behind a folder of its own name a model is known by its id alone.
        let id = source.id().filter(|_| registry.folder(source.name()).is_some());
        (id.unwrap_or_else(|| source.name().to_owned()), source.target())
    }

    /// Adds a model of the Hub that this machine has not got: a worker brings it. Returns what the job stores.
    pub fn add_absent(&mut self, state: &ProjectState, id: HubId) -> (String, ModelTarget) {
        self.warnings.extend(offline_warning(state, &id));
        (id.to_string(), ModelTarget::Hub(id))
    }

    /// The job with these pins, each once.
    pub fn onto(mut self, job: NewJob) -> NewJob {
        self.models.sort_unstable();
        self.models.dedup();
        self.checkpoints.sort_unstable();
        self.checkpoints.dedup();
        let warnings = job.warnings.into_iter().chain(self.warnings).collect();
        NewJob { models: self.models, checkpoints: self.checkpoints, warnings, ..job }
    }
}

/// The task of a checkpoint, which its job knows.
pub async fn task_of(state: &ProjectState, checkpoint: &Checkpoint) -> Result<Option<TaskDefinition>, ApiError> {
    let job = state.store.job(state.project, checkpoint.job_id).await?;
    Ok(job.and_then(|job| if let JobSpec::Distillation(spec) = job.spec { Some(spec.task) } else { None }))
}

/// Whether a text has the characters of a model's name, one to so many.
pub fn is_plain(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// A name that fits into one path segment and is not an id; `what` begins the sentence that says so.
pub fn check_name(refusals: &mut Refusals, pointer: &str, what: &str, name: &str) -> bool {
    let form = is_plain(name, 128) && !name.starts_with('.');
    let is_id = ID_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    refusals.require(form && !is_id, pointer, || {
        format!(
            "{what}'s name has 1 to 128 letters, digits, '-', '_' or '.', and does not begin with '.', 'job-', 'model-' or \
             'checkpoint-'"
        )
    });
    form && !is_id
}

/// What a job says of a Hub id that this machine has not got and may not look up. A worker elsewhere may well.
fn offline_warning(state: &ProjectState, id: &HubId) -> Option<JobWarning> {
    let message = format!(
        "this machine is offline and has not got {id}: a worker that is offline too fails, unless `stepwise fetch {id}` has \
         brought it there"
    );
    let data = Map::from_iter([("model".to_owned(), Value::from(id.to_string()))]);
    let offline = state.registry.hub().settings().offline;
    offline.then(|| JobWarning { code: "hub_offline".to_owned(), message, data })
}

/// What a model lacks; a registered one is complete.
pub fn missing(source: &StudentSource) -> Vec<&'static str> {
    match source {
        StudentSource::Registered(_) | StudentSource::Checkpoint(_) | StudentSource::Hub { .. } => Vec::new(),
        StudentSource::Directory { path, .. } => layout::missing_files(path),
    }
}

/// When a model's folder got its configuration, in Unix seconds; 0 where that cannot be read. OpenAI's clients want a time
/// of every model.
pub fn written_at(folder: &Path) -> i64 {
    let modified = fs::metadata(folder.join(layout::CONFIG)).and_then(|metadata| metadata.modified());
    let since = modified.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}

/// The end of the sentence "there is no model …": the nearest name, or those that there are.
pub async fn advice(state: &ProjectState, name: &str) -> Result<String, ApiError> {
    let registered = state.store.list_models(state.project, None, MAX_LIMIT).await?;
    let mut names: Vec<String> = registered.items.into_iter().map(|model| model.name).collect();
    names.extend(state.registry.directory_names()?);
    names.extend(state.registry.hub_models().await?.iter().map(|model| model.name().to_owned()));
    let aliases = state.store.list_aliases(state.project, None, MAX_LIMIT).await?;
    names.extend(aliases.items.into_iter().map(|alias| alias.name));
    Ok(nearest(name, names.iter().map(String::as_str)))
}
