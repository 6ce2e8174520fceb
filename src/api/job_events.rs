//! What happened to a job, as a list and as a stream.

use axum::{
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{
    ProjectState,
    error::ApiError,
    extract::{Id, Query, from_text},
    job_resource::find,
    job_stream::{self, FollowHeaders, Followed, StreamFrame, plain},
    list::{List, MAX_LIMIT, page_size},
    openapi::OfOne,
};
use crate::{
    domain::JobId,
    store::{Event, Store, StoreError},
};

/// Something that happened to a job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
#[serde(deny_unknown_fields)]
pub struct EventResource {
    /// Its place among all events; the cursor.
    id: i64,
    /// When it happened, in Unix seconds.
    created_at: i64,
    /// `info`, `warn` or `error`.
    level: String,
    /// A stable name to branch on.
    code: String,
    /// A sentence.
    message: String,
    /// Details.
    #[schema(value_type = Object)]
    data: Value,
}

/// Which events to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// The last id of the page before.
    #[serde(default, deserialize_with = "from_text")]
    after: Option<i64>,
    /// Events of a page, 1 to 1000; default 20. A page ends early, `has_more` being true, with the event that brings it to
    /// 8 MiB of text. A stream has no pages and does not read it.
    #[serde(default, deserialize_with = "from_text")]
    limit: Option<u32>,
    /// `true`: answer as a stream, as with `Accept: text/event-stream`.
    #[serde(default, deserialize_with = "from_text")]
    stream: Option<bool>,
}

/// What happened to a job, oldest first: a page, or with `Accept: text/event-stream` (or `stream=true`) everything as it
/// comes. A stream has the frames `job.event` (an event, its `id` the cursor), `job.state` (the job, whenever its state
/// has changed) and, once the job is over, `job.done` (the job) and the data `[DONE]`; then it ends. The stream of an annotation
/// that was cancelled or failed stays open until its result and its files are there, seconds after the end: the event
/// `result_written` comes before `job.done`, whose job has the `result`. Where no worker writes it, the stream ends a minute
/// after the end with a `result` of null. A client that comes back with `Last-Event-ID` or `after` misses nothing.
#[utoipa::path(get, path = "/v1/jobs/{id}/events", tag = "jobs",
    params(("id" = JobId, Path, description = "The job"), EventsQuery, FollowHeaders),
    responses((status = 200, description = "A page of events, or their stream",
            content((List<EventResource> = "application/json"), (StreamFrame = "text/event-stream"))),
        (status = 204, description = "`Last-Event-ID` is `done`, and the job is over: there is nothing to come back for"),
        OfOne))]
pub async fn list_job_events(
    state: ProjectState,
    id: Id<JobId>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let job = find(&state, id).await?;
    if job_stream::wanted(&headers, query.stream) {
        let last_id = job_stream::last_event_id(&headers);
        let after = job_stream::cursor(last_id.as_deref(), "41")?.or(query.after);
        return Ok(job_stream::follow(&state, job, last_id.as_deref(), FollowedEvents { after }));
    }
    let limit = page_size(query.limit, MAX_LIMIT)?;
    let page = state.store.list_events(job.id, query.after, limit).await?;
    let events = page.items.into_iter().map(EventResource::from).collect();
    Ok(axum::Json(List::new(events, page.has_more)).into_response())
}

/// Events after the last one that was sent.
struct FollowedEvents {
    after: Option<i64>,
}

impl Followed for FollowedEvents {
    const NAME: &'static str = "job.event";

    async fn next(&mut self, store: &Store, job: JobId) -> Result<Vec<(String, Value)>, StoreError> {
        let page = store.list_events(job, self.after, MAX_LIMIT).await?;
        self.after = page.items.last().map(|event| event.id).or(self.after);
        Ok(page.items.into_iter().map(|event| (event.id.to_string(), plain(&EventResource::from(event)))).collect())
    }
}

impl From<Event> for EventResource {
    fn from(event: Event) -> Self {
        Self {
            id: event.id,
            created_at: event.created_at.timestamp(),
            level: event.level.as_str().to_owned(),
            code: event.code,
            message: event.message,
            data: event.data,
        }
    }
}
