//! What the server and its models say of themselves.

use serde::Serialize;
use utoipa::ToSchema;

use super::outputs::Output;
use crate::api::asked_model::AskedModel;

/// What the server says of itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerMetadata {
    /// Always `stepwise`.
    #[schema(example = "stepwise")]
    name: String,
    /// The program's version.
    #[schema(example = "0.1.0")]
    version: String,
    /// Extensions of the protocol: none.
    #[schema(example = json!([]))]
    extensions: Vec<String>,
}

/// What a model says of itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelMetadata {
    /// The model's own name: what an alias points to.
    #[schema(example = "desk")]
    name: String,
    /// Its one version: the fingerprint of its files.
    #[schema(example = json!(["fp_0a1b2c3d4e"]))]
    versions: Vec<String>,
    /// Always `pytorch_libtorch`.
    #[schema(example = "pytorch_libtorch")]
    platform: String,
    /// What it reads.
    inputs: Vec<TensorMetadata>,
    /// What it can be asked for.
    outputs: Vec<TensorMetadata>,
}

/// A tensor.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TensorMetadata {
    /// Its name.
    #[schema(example = "text")]
    name: String,
    /// What its elements are.
    #[schema(example = "BYTES")]
    datatype: String,
    /// Its dimensions; -1: any number.
    #[schema(example = json!([-1]))]
    shape: Vec<i64>,
}

impl ServerMetadata {
    /// This program.
    pub fn own() -> Self {
        Self { name: "stepwise".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), extensions: Vec::new() }
    }
}

impl ModelMetadata {
    /// Of a model that can be asked.
    pub fn of(model: &AskedModel) -> Self {
        Self {
            name: model.name.clone(),
            versions: vec![model.fingerprint()],
            platform: "pytorch_libtorch".to_owned(),
            inputs: vec![TensorMetadata::new(super::texts::NAME, "BYTES")],
            outputs: Output::ALL.iter().map(|output| TensorMetadata::new(output.as_str(), output.datatype())).collect(),
        }
    }
}

impl TensorMetadata {
    fn new(name: &str, datatype: &str) -> Self {
        Self { name: name.to_owned(), datatype: datatype.to_owned(), shape: vec![-1] }
    }
}
