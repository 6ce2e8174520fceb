//! Why an attempt ends without its result, and whether another may have it.

use super::Stop;
use crate::{
    artifacts::ArtifactError,
    domain::{JobError, PauseReason},
    hub::HubError,
    registry::RegistryError,
    store::{NewEvent, StoreError},
    survey::SurveyError,
    telemetry::chain,
};

/// How an attempt ends without a result.
#[derive(Debug)]
pub enum AttemptError {
    /// It was told to.
    Stopped(Stop),
    /// It found a reason to pause the job until somebody resumes it.
    Paused {
        /// Which one.
        reason: PauseReason,
        /// What to tell of it.
        event: Box<NewEvent>,
    },
    /// It could not.
    Failed {
        /// Why.
        error: JobError,
        /// Whether another attempt could do better.
        retryable: bool,
    },
}

impl AttemptError {
    /// A failure that no further attempt can mend.
    pub fn fatal(error: JobError) -> Self {
        Self::Failed { error, retryable: false }
    }

    /// A failure that may pass.
    pub fn passing(error: JobError) -> Self {
        Self::Failed { error, retryable: true }
    }
}

impl From<StoreError> for AttemptError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LeaseLost(_) | StoreError::HandLost(_) => Self::Stopped(Stop::Lost),
            error => Self::passing(JobError::new("database_error", chain(&error))),
        }
    }
}

impl From<ArtifactError> for AttemptError {
    fn from(error: ArtifactError) -> Self {
        match error {
            ArtifactError::Missing { .. } | ArtifactError::Corrupt { .. } | ArtifactError::BrokenManifest { .. } => {
                Self::fatal(JobError::new("artifact_unusable", error.to_string()))
            }
            error => Self::passing(JobError::new("artifact_store_failed", chain(&error))),
        }
    }
}

impl From<HubError> for AttemptError {
    fn from(error: HubError) -> Self {
        let told = JobError::new(error.code(), chain(&error));
        if error.is_passing() { Self::passing(told) } else { Self::fatal(told) }
    }
}

impl From<SurveyError> for AttemptError {
    fn from(error: SurveyError) -> Self {
        match error {
            SurveyError::Artifact(error) => error.into(),
            error => Self::passing(JobError::new("scratch_failed", chain(&error))),
        }
    }
}

impl From<RegistryError> for AttemptError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Artifact(error) => error.into(),
            RegistryError::Store(error) => error.into(),
            error => Self::fatal(JobError::new("model_unusable", chain(&error))),
        }
    }
}
