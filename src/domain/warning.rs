//! What the user of a job should know though it stops nothing.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// One warning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobWarning {
    /// A stable name to branch on.
    #[schema(example = "rows_shared")]
    pub code: String,
    /// A sentence.
    #[schema(example = "12 of 200 different inputs of the test rows are also among the training rows")]
    pub message: String,
    /// The figures behind it; its form depends on the code.
    #[schema(value_type = Object, example = json!({"between": ["training", "test"], "shared_inputs": 12, "inputs": 200}))]
    pub data: Map<String, Value>,
}
