//! Writes every change into the audit log: before the handler begins, and how it ended before the answer is sent. A change that
//! cannot be written down is not made.

use axum::{
    body::{Body, HttpBody, to_bytes},
    extract::{MatchedPath, RawPathParams, Request, State},
    http::{Method, header},
    middleware::Next,
    response::Response,
};
use serde_json::Value;

use super::{ApiError, AppState, gate::Caller, middleware::RequestId, scopes};
use crate::{store::NewAudit, telemetry::chain};

/// Longest id or name that the log keeps.
const LONGEST_RESOURCE: usize = 200;
/// No answer to a change is larger than this.
const MOST_BYTES: u64 = 1 << 20;

/// Writes the request down, if it is one that changes something.
pub async fn record(
    State(state): State<AppState>,
    parameters: Result<RawPathParams, axum::extract::rejection::RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let Some(new) = change(&request, parameters.ok().as_ref()) else { return Ok(next.run(request).await) };
    let id = state.store.begin_audit(&new).await?;
    let (response, made) = name_of_what_was_made(next.run(request).await, new.resource.is_none()).await;
    // The change is made by now: that its end is not in the log is no reason to call it off.
    if let Err(error) = state.store.end_audit(id, response.status().as_u16(), made.as_deref()).await {
        tracing::warn!(error = %chain(&error), "how a change ended is not in the audit log");
    }
    Ok(response)
}

/// The row of a request that changes something.
fn change(request: &Request, parameters: Option<&RawPathParams>) -> Option<NewAudit> {
    let (method, route) = (request.method(), request.extensions().get::<MatchedPath>()?.as_str());
    let scope = scopes::needed(method, route)?;
    // A method that the route does not have is answered 405.
    if !scopes::changes(method, scope) || ![Method::POST, Method::PUT, Method::DELETE].contains(method) {
        return None;
    }
    let caller = request.extensions().get::<Caller>()?;
    let RequestId(id) = request.extensions().get::<RequestId>()?;
    let resource = parameters.and_then(|parameters| parameters.iter().next());
    Some(NewAudit {
        project: caller.project,
        key: caller.key.clone(),
        operation: format!("{method} {route}"),
        resource: resource.map(|(_, value)| value.chars().take(LONGEST_RESOURCE).collect()),
        request_id: id.clone(),
    })
}

/// The `id` in the answer to a request that made something.
async fn name_of_what_was_made(response: Response, is_wanted: bool) -> (Response, Option<String>) {
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let is_short = response.body().size_hint().exact().is_some_and(|bytes| bytes <= MOST_BYTES);
    if !(is_wanted && is_json && is_short && response.status().is_success()) {
        return (response, None);
    }
    let (parts, body) = response.into_parts();
    let bytes = match to_bytes(body, usize::MAX).await {
        Ok(bytes) => bytes,
        Err(error) => {
            let lost = ApiError::Internal(format!("an answer that is whole could not be read: {error}").into());
            return (axum::response::IntoResponse::into_response(lost), None);
        }
    };
    let id = serde_json::from_slice::<Value>(&bytes).ok().and_then(|body| body["id"].as_str().map(str::to_owned));
    (Response::from_parts(parts, Body::from(bytes)), id)
}
