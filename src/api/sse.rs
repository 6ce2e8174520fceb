//! An answer that comes as server-sent events, and the headers that keep it flowing.

use std::{convert::Infallible, time::Duration};

use axum::{
    http::{HeaderValue, header},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event as Frame, KeepAlive},
    },
};
use futures::Stream;

/// Time between comments that keep proxies from closing a silent connection.
const PING_EVERY: Duration = Duration::from_secs(15);

/// The frames as they come.
pub fn respond(frames: impl Stream<Item = Result<Frame, Infallible>> + Send + 'static) -> Response {
    let keep_alive = KeepAlive::new().interval(PING_EVERY).text("ping");
    let mut response = Sse::new(frames).keep_alive(keep_alive).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx would hold frames back until its buffer is full.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
