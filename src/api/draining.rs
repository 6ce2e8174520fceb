//! What clients are told while the service drains.

use axum::{
    extract::{Request, State},
    http::{HeaderValue, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::error::ApiError;
use crate::shutdown::Shutdown;

/// Says in every answer that it is the last on its connection, so that a client goes elsewhere with its next request.
/// HTTP/2 knows no such header; its connections say it in a frame of their own.
pub async fn close(State(shutdown): State<Shutdown>, request: Request, next: Next) -> Response {
    let is_told = request.version() < Version::HTTP_2;
    let mut response = next.run(request).await;
    if is_told && shutdown.is_cancelled() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Turns away what asks a student: another process has time for it.
pub async fn refuse(State(shutdown): State<Shutdown>, request: Request, next: Next) -> Response {
    if shutdown.is_cancelled() { ApiError::Draining.into_response() } else { next.run(request).await }
}
