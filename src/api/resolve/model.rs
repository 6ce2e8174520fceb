//! Models that a request names.

use std::{fs, path::Path, time::UNIX_EPOCH};

use super::Refusals;
use crate::{
    api::{AppState, error::ApiError, extract::nearest, list::MAX_LIMIT},
    domain::{JobId, ModelId, StudentSource},
    registry::REQUIRED_FILES,
    store::Store,
};

/// A model by its name, an alias, its id, or the id of the distillation that made it.
pub async fn find(state: &AppState, name: &str) -> Result<Option<StudentSource>, ApiError> {
    Ok(state.registry.find(Store::default_project(), name).await?)
}

/// What a job stores of a model that a request names: an alias means what it points to at the moment; everything else is
/// kept as it was given. With it the registered model, which the job keeps from being deleted.
pub fn settled(name: &str, source: &StudentSource) -> (String, Option<ModelId>) {
    let is_id = name.parse::<JobId>().is_ok() || name.parse::<ModelId>().is_ok();
    let stored = if is_id { name } else { source.name() };
    (stored.to_owned(), source.model_id())
}

/// A name that fits into one path segment and is not an id; `what` begins the sentence that says so.
pub fn check_name(refusals: &mut Refusals, pointer: &str, what: &str, name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let form = (1..=128).contains(&name.len()) && name.chars().all(plain) && !name.starts_with('.');
    let is_id = ["job-", "model-", "checkpoint-"].iter().any(|prefix| name.starts_with(prefix));
    refusals.require(form && !is_id, pointer, || {
        format!(
            "{what}'s name has 1 to 128 letters, digits, '-', '_' or '.', and does not begin with '.', 'job-', 'model-' or \
             'checkpoint-'"
        )
    });
    form && !is_id
}

/// What a model lacks; a registered one is complete.
pub fn missing(source: &StudentSource) -> Vec<&'static str> {
    match source {
        StudentSource::Registered(_) => Vec::new(),
        StudentSource::Directory { path, .. } => missing_files(path),
    }
}

/// What a model's folder lacks.
pub fn missing_files(folder: &Path) -> Vec<&'static str> {
    REQUIRED_FILES.into_iter().filter(|file| !folder.join(file).is_file()).collect()
}

/// When a model's folder got its configuration, in Unix seconds; 0 where that cannot be read. OpenAI's clients want a time
/// of every model.
pub fn written_at(folder: &Path) -> i64 {
    let modified = fs::metadata(folder.join("config.json")).and_then(|metadata| metadata.modified());
    let since = modified.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}

/// The end of the sentence "there is no model …": the nearest name, or those that there are.
pub async fn advice(state: &AppState, name: &str) -> Result<String, ApiError> {
    let registered = state.store.list_models(Store::default_project(), None, MAX_LIMIT).await?;
    let mut names: Vec<String> = registered.items.into_iter().map(|model| model.name).collect();
    names.extend(state.registry.directory_names()?);
    let aliases = state.store.list_aliases(Store::default_project(), None, MAX_LIMIT).await?;
    names.extend(aliases.items.into_iter().map(|alias| alias.name));
    Ok(nearest(name, names.iter().map(String::as_str)))
}
