//! Models that a request names.

use std::{fs, path::Path, time::UNIX_EPOCH};

use crate::{
    api::{AppState, error::ApiError, extract::nearest, list::MAX_LIMIT},
    domain::StudentSource,
    registry::REQUIRED_FILES,
    store::Store,
};

/// A model by its name, its id, or the id of the distillation that made it.
pub async fn find(state: &AppState, name: &str) -> Result<Option<StudentSource>, ApiError> {
    Ok(state.registry.find(Store::default_project(), name).await?)
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
    Ok(nearest(name, names.iter().map(String::as_str)))
}
