//! A job's figures by step, as a list and as a stream.

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
    store::{Metric, Store, StoreError},
};

/// One figure at one step.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Metric)]
#[serde(deny_unknown_fields)]
pub struct MetricResource {
    /// Its place in the order of writing: the cursor of the list and of the stream. A figure that is written again, by a later
    /// attempt that repeats its step, gets a new one.
    id: i64,
    /// Which figure.
    name: String,
    /// The optimizer step; of an annotation the number of settled examples.
    step: i64,
    /// The figure.
    value: f64,
    /// When it was written, in Unix seconds.
    created_at: i64,
}

/// Which metrics to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MetricsQuery {
    /// Only the figure of this name.
    name: Option<String>,
    /// The last id of the page before.
    #[serde(default, deserialize_with = "from_text")]
    after: Option<i64>,
    /// Figures of a page, 1 to 1000; default 20. A stream has no pages and does not read it.
    #[serde(default, deserialize_with = "from_text")]
    limit: Option<u32>,
    /// `true`: answer as a stream, as with `Accept: text/event-stream`.
    #[serde(default, deserialize_with = "from_text")]
    stream: Option<bool>,
}

/// A job's figures by step, such as `loss` and `label_accuracy`, in the order in which they were written: by step, but where
/// an attempt repeats steps of the one before. A page, or with `Accept: text/event-stream` (or `stream=true`) all of them as
/// they come, one frame `job.metrics` each; otherwise as the stream of events.
#[utoipa::path(get, path = "/v1/jobs/{id}/metrics", tag = "jobs",
    params(("id" = JobId, Path, description = "The job"), MetricsQuery, FollowHeaders),
    responses((status = 200, description = "A page of figures, or their stream",
            content((List<MetricResource> = "application/json"), (StreamFrame = "text/event-stream"))),
        (status = 204, description = "`Last-Event-ID` is `done`, and the job is over: there is nothing to come back for"),
        OfOne))]
pub async fn list_job_metrics(
    state: ProjectState,
    id: Id<JobId>,
    Query(query): Query<MetricsQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let job = find(&state, id).await?;
    if job_stream::wanted(&headers, query.stream) {
        let last_id = job_stream::last_event_id(&headers);
        let after = job_stream::cursor(last_id.as_deref(), "5713")?.or(query.after);
        return Ok(job_stream::follow(&state, job, last_id.as_deref(), FollowedMetrics { name: query.name, after }));
    }
    let limit = page_size(query.limit, MAX_LIMIT)?;
    let page = state.store.list_metrics(job.id, query.name.as_deref(), query.after, limit).await?;
    let figures = page.items.into_iter().map(MetricResource::from).collect();
    Ok(axum::Json(List::new(figures, page.has_more)).into_response())
}

/// Figures after the last one that was sent.
struct FollowedMetrics {
    name: Option<String>,
    after: Option<i64>,
}

impl Followed for FollowedMetrics {
    const NAME: &'static str = "job.metrics";

    async fn next(&mut self, store: &Store, job: JobId) -> Result<Vec<(String, Value)>, StoreError> {
        let page = store.list_metrics(job, self.name.as_deref(), self.after, MAX_LIMIT).await?;
        self.after = page.items.last().map(|metric| metric.id).or(self.after);
        let frame = |metric: Metric| (metric.id.to_string(), plain(&MetricResource::from(metric)));
        Ok(page.items.into_iter().map(frame).collect())
    }
}

impl From<Metric> for MetricResource {
    fn from(metric: Metric) -> Self {
        let created_at = metric.created_at.timestamp();
        Self { id: metric.id, name: metric.name, step: metric.step, value: metric.value, created_at }
    }
}
