//! A model made ready to be asked: found by its name, its files on this machine, its card read.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{
    ProjectState,
    error::ApiError,
    models::{self, unusable},
};
use crate::{
    domain::{ModelFiles, StudentCard},
    inference::InferenceError,
};

/// A model that can be asked.
pub struct AskedModel {
    /// Its own name, even when it was asked for by an alias.
    pub name: String,
    /// Its files.
    pub files: ModelFiles,
    /// What it learned to be asked.
    pub card: Arc<StudentCard>,
}

impl AskedModel {
    /// The model of this name, or a refusal that says what is there or what it lacks.
    pub async fn find(state: &ProjectState, name: &str) -> Result<Self, ApiError> {
        let source = state.names.find(state, name).await?;
        let (files, card) = match state.registry.open_with_card(&source).await {
            Ok(found) => found,
            Err(error) => return Err(models::not_opened(state, &source, error).await),
        };
        Ok(Self { name: source.name().to_owned(), files, card })
    }

    /// Why the engine did not answer, in this model's name.
    pub fn refused(&self, error: InferenceError) -> ApiError {
        in_the_name_of(&self.name, error)
    }

    /// OpenAI's `system_fingerprint`: changes whenever the model's files do.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(&self.files.key);
        let hex: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
        format!("fp_{hex}")
    }
}

/// Why the engine did not answer, in a model's name.
pub fn in_the_name_of(name: &str, error: InferenceError) -> ApiError {
    match error {
        InferenceError::ModelBroken { .. } | InferenceError::ModelTooLarge { .. } => unusable(name, &error),
        other => other.into(),
    }
}

/// The refusal of a label that is too long to be weighed, at the pointer of its place in the set; none where the engine
/// gave no answer for another reason.
pub fn label_refused(error: &InferenceError, pointer: impl FnOnce(usize) -> String) -> Option<ApiError> {
    let InferenceError::LabelTooLong { index, .. } = error else { return None };
    Some(ApiError::field(pointer(*index), "label_too_long", format!("{error}; shorten it")))
}
