//! Errors in the protocol's form.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{Content, RefOr, Response, ResponseBuilder},
};

use crate::api::error::ApiError;

/// Why there is no answer, in the protocol's form.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenInferenceError {
    /// What is wrong this time and what would be right.
    #[schema(example = "inputs/0/datatype: \"FP32\" is not read; send BYTES")]
    error: String,
}

/// Whether a path is the protocol's, and with it the form of its errors.
pub fn is_of_protocol(path: &str) -> bool {
    path == "/v2" || path.starts_with("/v2/")
}

/// An error's body. Fields that are at fault are named all, since the form has no other place for them.
pub fn refusal(error: &ApiError) -> Vec<u8> {
    let fields = error.fields().iter().map(|field| format!("{}: {}", field.place(), field.detail));
    let fields: Vec<String> = fields.collect();
    let error = if fields.is_empty() { error.to_string() } else { fields.join("; ") };
    serde_json::to_vec(&OpenInferenceError { error }).expect("a text is plain data")
}

/// Errors of a route that asks nothing of a student.
pub struct Look;

/// Errors of a probe that answers 503 in a form of its own.
pub struct Watch;

/// Errors of a route that asks a student.
pub struct Infer;

impl IntoResponses for Look {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[400, 404, 500, 503])
    }
}

impl IntoResponses for Watch {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[400, 404, 500])
    }
}

impl IntoResponses for Infer {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[400, 404, 413, 415, 429, 500, 503, 504])
    }
}

fn refusals(statuses: &[u16]) -> BTreeMap<String, RefOr<Response>> {
    statuses.iter().map(|status| (status.to_string(), RefOr::T(refused(*status)))).collect()
}

fn refused(status: u16) -> Response {
    let description = match status {
        400 => "The request is not valid; `error` names the fields",
        404 => "There is no such model, or not in this version",
        413 => "The body is too large",
        415 => "The body is not JSON",
        429 => "Too much at once; `retry-after` says when to come back",
        503 => "The database or the engine cannot be reached at the moment; `retry-after` says when to come back",
        504 => "The request was not answered within its own `Stepwise-Timeout`",
        _ => "A fault of the service; its log has the cause",
    };
    let schema = utoipa::openapi::Ref::from_schema_name(OpenInferenceError::name());
    let content = Content::new(Some(RefOr::<utoipa::openapi::Schema>::Ref(schema)));
    ResponseBuilder::new().description(description).content("application/json", content).build()
}
