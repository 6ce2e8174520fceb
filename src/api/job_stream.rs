//! A job's events or figures as they come: server-sent events. The source is the database, so any process can follow a
//! job that any other one works on; a client that comes back says where it stopped and misses nothing.
//!
//! ```text
//! retry: 3000
//!
//! id: 41                    id: 5713
//! event: job.event          event: job.metrics
//! data: {…}                 data: {…}
//!
//! event: job.state   ◀── whenever the state has changed, and once at the start
//! data: {…the job…}
//!
//! id: done           ◀── only once the job is over, has its result where it is to get one, and everything before it was sent
//! event: job.done
//! data: {…the job…}
//!
//! data: [DONE]
//! ```
//! An annotation that was cancelled or failed gets its result and files within seconds of its end, and the event
//! `result_written`; a follower who knows of them only by this stream waits for them here.
//!
//! A browser's `EventSource` connects again when a stream ends; one that says `done` is told to stop with a 204.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use async_stream::stream;
use axum::{
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response, sse::Event as Frame},
};
use futures::Stream;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{ProjectState, accept, error::ApiError, job_resource::JobResource, sse};
use crate::{
    domain::{Job, JobId, JobState, RESULT_WITHIN, awaits_result},
    store::{Store, StoreError},
};

/// Time between looks at the database.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How soon a client comes back, as it is told once.
const RETRY: Duration = Duration::from_secs(3);
/// What the last frame's id is.
const DONE: &str = "done";
const EVENT_STREAM: &str = "text/event-stream";

/// One frame of a stream, as a client's parser gives it.
#[derive(Debug, Serialize, ToSchema)]
pub struct StreamFrame {
    /// What it is: `job.event`, `job.metrics`, `job.state` or `job.done`; none on the last one.
    event: Option<String>,
    /// Where a client that comes back goes on; `done` at the end.
    id: Option<String>,
    /// An event, a figure or the job, as JSON; `[DONE]` on the last one.
    data: Option<String>,
    /// Milliseconds until a client that lost the stream comes back, on the first one.
    retry: Option<u64>,
}

/// A list of a job that can be followed.
pub trait Followed: Send + 'static {
    /// The event's name.
    const NAME: &'static str;

    /// The next items after the last one that was given, each with its cursor.
    fn next(
        &mut self,
        store: &Store,
        job: JobId,
    ) -> impl Future<Output = Result<Vec<(String, Value)>, StoreError>> + Send;
}

/// How a client goes on with a stream.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes headers that are read by hand")]
pub struct FollowHeaders {
    /// The last `id` of the stream that was seen: it goes on after it. Wins over `after`.
    #[param(rename = "Last-Event-ID", example = "41")]
    last_event_id: Option<String>,
}

/// Whether the client asks for a stream: by `Accept`, or by `?stream=true`.
pub fn wanted(headers: &HeaderMap, stream: Option<bool>) -> bool {
    stream.unwrap_or_else(|| accept::named(headers, &[EVENT_STREAM]).is_some())
}

/// Where the client stopped, by its header `Last-Event-ID`. It wins over `after`: a client that reconnects by itself
/// repeats its address and adds the header.
pub fn last_event_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("last-event-id")?.to_str().ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The stream, or 204 to a client that has had all of it.
pub fn follow(state: &ProjectState, job: Job, last_id: Option<&str>, list: impl Followed) -> Response {
    if last_id == Some(DONE) && job.state.is_terminal() {
        return StatusCode::NO_CONTENT.into_response();
    }
    sse::respond(frames(state.clone(), job, list))
}

fn bad_cursor(text: &str, example: &str) -> ApiError {
    let detail = format!("Last-Event-ID is {text:?}; send an id of this stream, such as {example:?}");
    ApiError::field("#/Last-Event-ID", "invalid_value", detail)
}

/// The cursor in a `Last-Event-ID`; a client that was told `done` about a job that goes on starts from the beginning.
pub fn cursor<T: std::str::FromStr>(last_id: Option<&str>, example: &str) -> Result<Option<T>, ApiError> {
    match last_id {
        None | Some(DONE) => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| bad_cursor(text, example)),
    }
}

fn frames<L: Followed>(state: ProjectState, job: Job, mut list: L) -> impl Stream<Item = Result<Frame, Infallible>> {
    stream! {
        let (project, id) = (job.project_id, job.id);
        let (mut said, mut over_since): (Option<JobState>, Option<Instant>) = (None, None);
        yield Ok(Frame::default().retry(RETRY));
        loop {
            // The job is read before its list: when it is over, the list read after it is complete.
            let looked = look(&state, project, id, &mut list).await;
            let Ok((job, items)) = looked else {
                // An outage of the database ends no stream: the next look may succeed.
                if pause(&state).await { continue } else { break }
            };
            let Some(job) = job else { break };
            let more = !items.is_empty();
            if said.replace(job.state) != Some(job.state) {
                yield Ok(frame("job.state", &JobResource::of(job.clone())));
            }
            for (cursor, item) in items {
                yield Ok(frame(L::NAME, &item).id(cursor));
            }
            over_since = job.state.is_terminal().then(|| over_since.unwrap_or_else(Instant::now));
            let awaits_result = awaits_result(job.kind(), job.state, job.result.as_ref());
            let is_whole = over_since.is_some_and(|since| !awaits_result || since.elapsed() >= RESULT_WITHIN);
            if is_whole && !more {
                yield Ok(frame("job.done", &JobResource::of(job)).id(DONE));
                yield Ok(Frame::default().data("[DONE]"));
                break;
            }
            if !more && !pause(&state).await {
                break;
            }
        }
    }
}

type Looked = (Option<Job>, Vec<(String, Value)>);

async fn look<L: Followed>(
    state: &ProjectState,
    project: crate::domain::ProjectId,
    id: JobId,
    list: &mut L,
) -> Result<Looked, StoreError> {
    let job = state.store.job(project, id).await?;
    let items = list.next(&state.store, id).await?;
    Ok((job, items))
}

/// Waits for the next look; false when the process is about to stop, which ends the stream: the client comes back to
/// another one.
async fn pause(state: &ProjectState) -> bool {
    tokio::select! {
        () = tokio::time::sleep(LOOK_EVERY) => true,
        () = state.shutdown.cancelled() => false,
    }
}

/// An item's data.
pub fn plain(resource: &impl Serialize) -> Value {
    serde_json::to_value(resource).expect("resources are plain data")
}

fn frame(name: &str, data: &impl Serialize) -> Frame {
    let data = serde_json::to_string(data).expect("resources are plain data");
    Frame::default().event(name).data(data)
}
