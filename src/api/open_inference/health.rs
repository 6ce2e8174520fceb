//! The protocol's probes.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::refused::OpenInferenceError;
use crate::api::one_of::one_of;

/// The process runs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerLive {
    /// Always true.
    #[schema(example = true)]
    pub live: bool,
}

/// Whether the process can take work. The protocol's text calls the member `live`, its servers `ready`: both are there.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerReady {
    /// The same as `ready`.
    #[schema(example = true)]
    pub live: bool,
    /// Whether it is ready; `/readyz` says what is missing.
    #[schema(example = true)]
    pub ready: bool,
}

/// Why a model cannot be asked: it is not ready, or nobody can tell at the moment. For the document.
pub struct ModelNotReady;

impl PartialSchema for ModelNotReady {
    fn schema() -> RefOr<Schema> {
        let description = "The model, which is not ready; or why nobody can tell at the moment.";
        one_of(description, [ModelReady::name(), OpenInferenceError::name()])
    }
}

impl ToSchema for ModelNotReady {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ModelNotReady")
    }
}

/// Whether a model can be asked.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelReady {
    /// The model's own name: what an alias points to.
    #[schema(example = "desk")]
    pub name: String,
    /// Whether its files are here and whole: it is loaded when it is asked.
    #[schema(example = true)]
    pub ready: bool,
}
