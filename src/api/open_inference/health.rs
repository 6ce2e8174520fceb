//! The protocol's probes.

use serde::Serialize;
use utoipa::ToSchema;

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
