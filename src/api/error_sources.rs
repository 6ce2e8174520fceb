//! What the errors of other rooms mean to a request: trouble that passes, or a fault.

use super::ApiError;
use crate::{
    artifacts::ArtifactError, inference::InferenceError, registry::RegistryError, store::StoreError,
    survey::SurveyError,
};

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::KeyLost) {
            return Self::KeyBusy;
        }
        if error.is_unavailable() {
            Self::Unavailable { what: "the database", cause: Box::new(error) }
        } else {
            Self::Internal(Box::new(error))
        }
    }
}

impl From<ArtifactError> for ApiError {
    fn from(error: ArtifactError) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<SurveyError> for ApiError {
    fn from(error: SurveyError) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Store(error) => error.into(),
            other => Self::Internal(Box::new(other)),
        }
    }
}

impl From<InferenceError> for ApiError {
    fn from(error: InferenceError) -> Self {
        match error {
            InferenceError::Overloaded { seconds } => Self::Overloaded { seconds },
            InferenceError::Expired => Self::QueueTimeout,
            InferenceError::ModelDamaged { .. } => {
                Self::Unavailable { what: "the model, whose copy on this machine was damaged,", cause: Box::new(error) }
            }
            InferenceError::ModelUnreadable { .. } => Self::model_unreadable(error),
            InferenceError::Stopped => Self::Unavailable { what: "the inference engine", cause: Box::new(error) },
            other => Self::Internal(Box::new(other)),
        }
    }
}

impl ApiError {
    /// A model whose files on this machine cannot be read, whoever tried.
    pub fn model_unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Unavailable { what: "the model, whose files on this machine cannot be read,", cause: Box::new(error) }
    }
}
