//! A model made ready to be asked: found by its name, its files on this machine, its card read.

use sha2::{Digest, Sha256};

use super::{
    AppState,
    error::ApiError,
    models::{self, unusable},
};
use crate::{
    domain::{StudentCard, StudentSource},
    inference::{InferenceError, ModelFiles},
    registry::{self, OpenModel},
};

/// A model that can be asked.
pub struct AskedModel {
    /// Its own name, even when it was asked for by an alias.
    pub name: String,
    /// Its files.
    pub files: ModelFiles,
    /// What it learned to be asked.
    pub card: StudentCard,
}

impl AskedModel {
    /// The model of this name, or a refusal that says what is there or what it lacks.
    pub async fn find(state: &AppState, name: &str) -> Result<Self, ApiError> {
        let source = models::find(state, name).await?;
        let name = source.name().to_owned();
        let files = files(state, &source).await?;
        let card = registry::card(&files.directory).map_err(|error| unusable(&name, &error))?;
        Ok(Self { name, files, card })
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

/// A model's files on this machine, as the engine takes them.
pub async fn files(state: &AppState, source: &StudentSource) -> Result<ModelFiles, ApiError> {
    let OpenModel { key, directory, manifest_sha256 } = models::open(state, source).await?;
    Ok(ModelFiles { name: source.name().to_owned(), key, directory, manifest_sha256 })
}

/// The refusal of a label that is too long to be weighed, at the pointer of its place in the set; none where the engine
/// gave no answer for another reason.
pub fn label_refused(error: &InferenceError, pointer: impl FnOnce(usize) -> String) -> Option<ApiError> {
    let InferenceError::LabelTooLong { index, .. } = error else { return None };
    Some(ApiError::field(pointer(*index), "label_too_long", format!("{error}; shorten it")))
}
