//! An error's form on the wire: RFC 9457's problem details with OpenAI's `error` member, so that both kinds of client
//! read it. A handler answers an [`ApiError`]; the middleware, which knows the request's id, writes the body.

use std::{error::Error, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{error::ApiError, open_inference};
use crate::telemetry::chain;

/// The media type of every error under `/v1`.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// A URI that names the kind of problem; ends in the code.
    #[serde(rename = "type")]
    kind: String,
    /// The kind of problem in words; the same for every occurrence.
    title: String,
    /// The response's status.
    status: u16,
    /// What is wrong this time and what would be right.
    detail: String,
    /// Names this occurrence.
    instance: String,
    /// The same id as in the header `x-request-id`.
    request_id: String,
    /// The fields at fault; empty where it is not about fields.
    errors: Vec<ProblemField>,
    /// The same for OpenAI's clients.
    error: OpenAiError,
}

/// One field at fault.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProblemField {
    /// JSON pointer into the request's body.
    pointer: String,
    /// The line of the file that the field names; null where it is not about a line.
    #[schema(required = true)]
    line: Option<u64>,
    /// A stable name to branch on.
    code: String,
    /// What is wrong and what would be right.
    detail: String,
}

/// An error as OpenAI's clients read it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OpenAiError {
    /// What is wrong this time and what would be right.
    message: String,
    /// The class of error.
    #[serde(rename = "type")]
    kind: String,
    /// The field at fault.
    #[schema(required = true)]
    param: Option<String>,
    /// A stable name to branch on.
    code: String,
}

impl Problem {
    fn new(error: &ApiError, request_id: &str) -> Self {
        let wire = error.wire();
        let fields = error.fields().iter().map(|field| ProblemField {
            pointer: field.pointer.clone(),
            line: field.line,
            code: field.code.to_owned(),
            detail: field.detail.clone(),
        });
        Self {
            kind: format!("urn:stepwise:error:{}", wire.code),
            title: title(wire.code),
            status: wire.status.as_u16(),
            detail: error.to_string(),
            instance: format!("/v1/requests/{request_id}"),
            request_id: request_id.to_owned(),
            errors: fields.collect(),
            error: OpenAiError::new(error),
        }
    }
}

impl OpenAiError {
    fn new(error: &ApiError) -> Self {
        let wire = error.wire();
        Self {
            message: error.to_string(),
            kind: wire.kind.to_owned(),
            param: error.param(),
            code: wire.code.to_owned(),
        }
    }
}

/// An error in the midst of a stream, in OpenAI's form: a status was sent long before.
#[derive(Debug, Serialize)]
pub struct StreamError {
    error: OpenAiError,
}

/// The last data of a stream that fails. Logs the error's causes, as `render` does for answers that fail as a whole.
pub fn in_stream(error: &ApiError) -> StreamError {
    if let Some(cause) = error.source() {
        tracing::error!(code = error.wire().code, cause = %chain(cause), "stream failed");
    }
    StreamError { error: OpenAiError::new(error) }
}

impl IntoResponse for ApiError {
    /// An empty response that carries the error to `render`.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.wire().status;
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// How a request wants its errors written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorForm {
    /// As a [`Problem`].
    Problem,
    /// As the Open Inference Protocol has them.
    OpenInference,
}

impl ErrorForm {
    /// The form of errors at this path.
    pub fn of(path: &str) -> Self {
        if open_inference::is_of_protocol(path) { Self::OpenInference } else { Self::Problem }
    }

    fn write(self, error: &ApiError, request_id: &str) -> (&'static str, Vec<u8>) {
        match self {
            Self::OpenInference => ("application/json", open_inference::refusal(error)),
            Self::Problem => {
                let problem = Problem::new(error, request_id);
                (PROBLEM_JSON, serde_json::to_vec(&problem).expect("a problem is plain data"))
            }
        }
    }
}

/// Writes the body of a response that carries an error, and logs the error's causes: the one place that does.
pub fn render(mut response: Response, request_id: &str, form: ErrorForm) -> Response {
    let Some(error) = response.extensions_mut().remove::<Arc<ApiError>>() else { return response };
    log(&error, request_id);
    let (content_type, body) = form.write(&error, request_id);
    let wire = error.wire();
    // The headers that are there already stay: the router's own `allow` on a 405.
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.remove(header::CONTENT_LENGTH);
    if let Some(seconds) = wire.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if wire.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let ApiError::RangeNotSatisfiable { bytes } = &*error {
        let size = HeaderValue::try_from(format!("bytes */{bytes}")).expect("numbers are plain ASCII");
        headers.insert(header::CONTENT_RANGE, size);
    }
    if wire.never_retry {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    *response.body_mut() = Body::from(body);
    response
}

fn log(error: &ApiError, request_id: &str) {
    let Some(cause) = error.source() else { return };
    let code = error.wire().code;
    tracing::error!(request_id, code, cause = %chain(cause), "request failed");
}

/// `unknown_parameter` in words.
fn title(code: &str) -> String {
    let words = code.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
