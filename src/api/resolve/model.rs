//! Models that a request names.

use std::path::Path;

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

/// The end of the sentence "there is no model …": the nearest name, or those that there are.
pub async fn advice(state: &AppState, name: &str) -> Result<String, ApiError> {
    let registered = state.store.list_models(Store::default_project(), None, MAX_LIMIT).await?;
    let mut names: Vec<String> = registered.items.into_iter().map(|model| model.name).collect();
    names.extend(state.registry.directory_names()?);
    Ok(nearest(name, names.iter().map(String::as_str)))
}
