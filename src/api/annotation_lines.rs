//! An annotation's answers as JSON lines, however many there are: read from the database page by page as the client takes
//! them, and never held in memory whole. A client that goes away or reads slowly holds no connection to the database.

use async_stream::stream;
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::Stream;

use super::{ProjectState, accept};
use crate::{
    domain::{Annotation, AnnotationLine, AnnotationStatus, JobId},
    store::StoreError,
    telemetry::chain,
};

/// The media types that mean JSON lines, the one that this service's files have first.
const JSON_LINES: [&str; 2] = ["application/jsonl", "application/x-ndjson"];
/// Answers read from the database at once.
const PAGE: u32 = 500;

/// Which answers to send.
#[derive(Debug)]
pub struct Wanted {
    /// Whose.
    pub job: JobId,
    /// Only those of these statuses; none: all.
    pub statuses: Vec<AnnotationStatus>,
    /// Only those behind this place in the file.
    pub after: Option<i64>,
}

/// The media type of JSON lines that the client asks for, if it asks for them.
pub fn wanted(headers: &HeaderMap) -> Option<&'static str> {
    accept::named(headers, &JSON_LINES)
}

/// The answers that are settled when their place in the file is passed.
pub fn answer(state: &ProjectState, media: &'static str, wanted: Wanted) -> Response {
    let mut response = Body::from_stream(pages(state.clone(), wanted)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// The lines page by page. Where a page cannot be read the stream breaks off: an end that looks like the last line would be a lie.
fn pages(state: ProjectState, mut wanted: Wanted) -> impl Stream<Item = Result<Bytes, StoreError>> {
    stream! {
        loop {
            let read = state.store.list_annotations(wanted.job, &wanted.statuses, wanted.after, PAGE).await;
            let page = match read {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(job = %wanted.job, error = %chain(&error), "a stream of answers breaks off");
                    yield Err(error);
                    break;
                }
            };
            wanted.after = page.items.last().map(|annotation| annotation.example_index).or(wanted.after);
            let has_more = page.has_more;
            if !page.items.is_empty() {
                yield Ok(lines(page.items));
            }
            if !has_more {
                break;
            }
        }
    }
}

fn lines(annotations: Vec<Annotation>) -> Bytes {
    let mut text = Vec::new();
    for annotation in annotations {
        serde_json::to_writer(&mut text, &AnnotationLine::new(annotation)).expect("a line is plain data");
        text.push(b'\n');
    }
    text.into()
}
