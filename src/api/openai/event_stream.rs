//! An answer that comes in chunks: server-sent events of data alone, as OpenAI's clients read them.
//!
//! ```text
//! data: {…a chunk…}          data: {…a chunk…}
//!
//! data: {…another…}          data: {"error": {…}}   ◀── whatever goes wrong after the first chunk; nothing follows
//!
//! data: [DONE]
//! ```
//! What goes wrong before the first chunk is an answer with a status of its own. A deadline that passes is such an error.

use std::convert::Infallible;

use async_stream::stream;
use axum::response::{Response, sse::Event as Frame};
use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use tracing::Span;
use utoipa::ToSchema;

use crate::api::{
    deadline::{Deadline, within},
    error::ApiError,
    problem,
    resolve::Refusals,
    sse,
};

/// How an answer is streamed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamOptions {
    /// Whether one more chunk comes before the end, with the tokens of the request and no choices; `usage` is null in the others.
    #[schema(example = true)]
    pub include_usage: Option<bool>,
    /// Accepted: chunks are not padded.
    #[schema(example = false)]
    pub include_obfuscation: Option<bool>,
}

impl StreamOptions {
    /// Whether the last chunk tells the tokens of the request.
    pub fn includes_usage(self) -> bool {
        self.include_usage == Some(true)
    }
}

/// How the answer is to be streamed; none where it is to come whole.
pub fn wanted(refusals: &mut Refusals, stream: Option<bool>, options: Option<StreamOptions>) -> Option<StreamOptions> {
    if stream == Some(true) {
        return Some(options.unwrap_or_default());
    }
    if options.is_some() {
        let detail = "stream_options is not supported with this value; send stream: true with it";
        refusals.add("#/stream_options", "unsupported_parameter", detail);
    }
    None
}

/// The chunks as they come until the deadline, and the end. Whoever reads them may leave at any time: then they are dropped.
pub fn respond<T: Serialize + Send + 'static>(
    chunks: impl Stream<Item = Result<T, ApiError>> + Send + 'static,
    deadline: Option<Deadline>,
) -> Response {
    sse::respond(frames(chunks, deadline, Span::current()))
}

fn frames<T: Serialize + Send>(
    chunks: impl Stream<Item = Result<T, ApiError>>,
    deadline: Option<Deadline>,
    request: Span,
) -> impl Stream<Item = Result<Frame, Infallible>> {
    stream! {
        let mut chunks = Box::pin(chunks);
        loop {
            match within(deadline, chunks.next()).await.and_then(Option::transpose) {
                Ok(Some(chunk)) => yield Ok(frame(&chunk)),
                Ok(None) => break,
                Err(error) => {
                    // The work ends with the error, not when the client has read it.
                    drop(chunks);
                    yield Ok(frame(&request.in_scope(|| problem::in_stream(&error))));
                    return;
                }
            }
        }
        yield Ok(Frame::default().data("[DONE]"));
    }
}

fn frame(data: &impl Serialize) -> Frame {
    Frame::default().data(serde_json::to_string(data).expect("chunks are plain data"))
}
