//! What happens around every handler: an id, a span, counters, a time limit, and the body of an error.

use std::{
    any::Any,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::Instrument;

use super::{
    ApiError, AppState,
    problem::{self, ErrorForm},
};
use crate::clock::Clock;

const REQUEST_ID: &str = "x-request-id";
/// Longest time that an answer may take, streams and predictions left out.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A request's id, among its extensions.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// Gives the request its id (the client's own where it is sane), opens its span, and writes the body of an error.
/// Neither bodies nor headers reach the log: both hold users' data, and headers hold keys.
pub async fn identify(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let id = given_id(request.headers()).unwrap_or_else(|| new_id(&state.clock));
    let span = tracing::info_span!("request", id, method = %request.method(), path = request.uri().path());
    let form = ErrorForm::of(request.uri().path());
    request.extensions_mut().insert(RequestId(id.clone()));
    let started = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let _entered = span.enter();
    let mut response = problem::render(response, &id, form);
    let elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
    tracing::info!(status = response.status().as_u16(), elapsed_ms, "answered");
    let value = HeaderValue::from_str(&id).expect("ids are letters, digits and dashes");
    response.headers_mut().insert(REQUEST_ID, value);
    response
}

/// The client's id, if it is short and cannot break a log line.
fn given_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(REQUEST_ID)?.to_str().ok()?;
    let sane = (1..=100).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    sane.then(|| text.to_owned())
}

fn new_id(clock: &Clock) -> String {
    format!("req_{}", clock.new_id().simple())
}

/// Counts the request under its route, never under its path: a path holds ids, and their number has no bound.
pub async fn measure(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let started = Instant::now();
    let response = next.run(request).await;
    state.metrics.observe(method.as_str(), &route, response.status().as_u16(), started.elapsed());
    response
}

/// Gives up a request that takes too long.
pub async fn limit_time(request: Request, next: Next) -> Response {
    let answered = tokio::time::timeout(TIME_LIMIT, next.run(request)).await;
    answered.unwrap_or_else(|_| ApiError::TimedOut(TIME_LIMIT.as_secs()).into_response())
}

/// The answer to a handler that panicked; the panic's text stays in the log.
pub fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
    ApiError::Internal(format!("a handler panicked: {text}").into()).into_response()
}
