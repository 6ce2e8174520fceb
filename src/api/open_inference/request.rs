//! An inference request in the protocol's form.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Ask a student about some texts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InferenceRequest {
    /// Your name of this request; the answer has it as well.
    #[schema(example = "42")]
    pub id: Option<String>,
    /// `rationale` and `label_probs`: true where that output is wanted though `outputs` is left out.
    #[schema(value_type = Option<Object>, example = json!({"rationale": true}))]
    pub parameters: Option<Map<String, Value>>,
    /// One tensor: the texts.
    pub inputs: Vec<InputTensor>,
    /// The outputs that are wanted; default: `label` and `confidence`.
    pub outputs: Option<Vec<WantedOutput>>,
}

/// A tensor of texts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InputTensor {
    /// Always `text`.
    #[schema(example = "text")]
    pub name: String,
    /// `[n]` or `[n, 1]`, n from 1 to 256.
    #[schema(example = json!([2]))]
    pub shape: Vec<u64>,
    /// Always `BYTES`.
    #[schema(example = "BYTES")]
    pub datatype: String,
    /// None are known; `binary_data_size` is refused.
    #[schema(value_type = Option<Object>, example = json!({}))]
    pub parameters: Option<Map<String, Value>>,
    /// The texts, without any prefix: flat, or nested as the shape says.
    #[schema(value_type = Vec<Value>, example = json!(["The box was torn when it came.", "It is 90 days old."]))]
    pub data: Option<Vec<Value>>,
}

/// An output that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedOutput {
    /// `label`, `confidence`, `label_probs` or `rationale`.
    #[schema(example = "label")]
    pub name: String,
    /// None are known but `binary_data`, which must be false.
    #[schema(value_type = Option<Object>, example = json!({}))]
    pub parameters: Option<Map<String, Value>>,
}
