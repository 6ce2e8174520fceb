//! How an annotation asks its teacher besides the question: which rationales it keeps, and how it begins carefully.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which rationales of an example are kept. Only examples with ground truth tell the three apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RationaleKeeping {
    /// All that argue for the teacher's label.
    #[default]
    All,
    /// Those that argue for the ground truth; none where no sample did (the rejection sampling of STaR, arXiv 2203.14465).
    CorrectOnly,
    /// The same, and where samples could be read and none came to the ground truth, the teacher is shown it and asked for
    /// its reasons (STaR's rationalization). An example of which no sample could be read stays a rejection.
    Rationalize,
}

/// A first few rows that must turn out well before the rest is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"rows": 20, "min_valid": 18}))]
pub struct Smoke {
    /// How many rows are asked about first.
    #[schema(example = 20)]
    pub rows: u64,
    /// How many of them must be valid; with fewer the job is paused.
    #[schema(example = 18)]
    pub min_valid: u64,
}
