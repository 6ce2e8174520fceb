//! The OpenAPI document: made from the routes, committed as `openapi.yaml`, compared in a test.

use std::{collections::BTreeMap, sync::LazyLock};

use axum::extract::State;
use utoipa::{
    IntoResponses, OpenApi, ToSchema,
    openapi::{Content, RefOr, Response, ResponseBuilder},
};

use super::{
    AppState, examples,
    files::Order,
    open_inference::OpenInferenceError,
    problem::{PROBLEM_JSON, Problem},
    scopes,
};
use crate::{
    domain::{DistillationResult, Evaluation},
    shutdown::Shutdown,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "stepwise",
        description = "Turns unlabeled text, an LLM endpoint and a T5 into a small served model by Distilling \
            Step-by-Step. Errors are problem+json (RFC 9457) with OpenAI's `error` member. Every answer carries \
            `x-request-id`. Unknown fields and query parameters are refused.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(Problem, OpenInferenceError, DistillationResult, Evaluation, Order)),
    tags(
        (name = "files", description = "JSON lines: examples in, annotations out"),
        (name = "jobs", description = "Work that takes a while: annotate, distill, evaluate"),
        (name = "models", description = "Students that answer"),
        (name = "openai", description = "The same students in OpenAI's shapes, for its unmodified SDKs"),
        (name = "open inference", description = "The same students in the Open Inference Protocol (v2); errors are `{\"error\": …}`"),
        (name = "service", description = "Is it alive, is it ready, what does it do")
    )
)]
struct Head;

/// What the document says before the routes are added.
pub fn head() -> utoipa::openapi::OpenApi {
    Head::openapi()
}

/// The whole document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    examples::attach(&scopes::guarded(&super::routes(&Shutdown::new()).into_openapi()))
}

/// The whole document as it is committed. `stepwise openapi` prints it.
pub fn openapi_yaml() -> String {
    openapi().to_yaml().expect("the document is plain data")
}

/// Answers `/openapi.json`.
pub async fn document(State(_): State<AppState>) -> axum::Json<&'static utoipa::openapi::OpenApi> {
    static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(openapi);
    axum::Json(&DOCUMENT)
}

/// Problems that any route may answer.
pub struct Plain;

/// Problems of a route that names one thing.
pub struct OfOne;

/// Problems of a route that names one thing of a kind.
pub struct OfKind;

/// Problems of a route that moves one thing.
pub struct Act;

/// Problems of a route that takes a body and makes something, once per key.
pub struct Submitted;

/// Problems of a route that takes a body and changes one thing.
pub struct Put;

/// Problems of a route that asks a student.
pub struct Ask;

impl IntoResponses for Plain {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[400, 500, 503])
    }
}

impl IntoResponses for OfOne {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[400, 404, 500, 503])
    }
}

impl IntoResponses for OfKind {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[400, 404, 409, 500, 503])
    }
}

impl IntoResponses for Act {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[400, 404, 409, 422, 500, 503])
    }
}

impl IntoResponses for Submitted {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[400, 409, 413, 415, 422, 500, 503])
    }
}

impl IntoResponses for Put {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[400, 404, 413, 415, 500, 503])
    }
}

impl IntoResponses for Ask {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[400, 404, 413, 415, 429, 500, 503, 504])
    }
}

fn problems(statuses: &[u16]) -> BTreeMap<String, RefOr<Response>> {
    statuses.iter().map(|status| (status.to_string(), RefOr::T(problem(*status)))).collect()
}

fn problem(status: u16) -> Response {
    let description = match status {
        400 => "The request is not valid; `errors` names the fields",
        404 => "There is no such thing",
        409 => "What is stored stands against it; `x-should-retry: false` where that will not pass",
        413 => "The body is too large",
        415 => "The body is of another type than this route takes",
        422 => "The `Idempotency-Key` came with another request before",
        429 => "Too much at once; `retry-after` says when to come back",
        503 => "The database or the engine cannot be reached at the moment; `retry-after` says when to come back",
        504 => "The request was not answered within its own `Stepwise-Timeout`",
        _ => "A fault of the service; its log has the cause under `request_id`",
    };
    let schema = utoipa::openapi::Ref::from_schema_name(Problem::name());
    let content = Content::new(Some(RefOr::<utoipa::openapi::Schema>::Ref(schema)));
    ResponseBuilder::new().description(description).content(PROBLEM_JSON, content).build()
}
