//! What a job has left so far: events, metrics, annotations. All in ascending order, so that a reader who remembers the
//! last item sees everything once.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{
    AppState,
    error::ApiError,
    extract::{Id, Query, from_text},
    job_resource::find,
    list::{List, MAX_LIMIT, page_size},
    openapi::OfOne,
};
use crate::{
    domain::{Annotation, AnnotationStatus, JobId},
    store::{Event, Metric, MetricCursor},
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

/// One figure at one step.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Metric)]
#[serde(deny_unknown_fields)]
pub struct MetricResource {
    /// Which figure.
    name: String,
    /// The optimizer step.
    step: i64,
    /// The figure.
    value: f64,
    /// When it was written, in Unix seconds.
    created_at: i64,
}

/// The teacher's answer to one example.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Annotation)]
#[serde(deny_unknown_fields)]
pub struct AnnotationResource {
    /// The example's place in its file, from 0; the cursor.
    example_index: i64,
    /// The example's id.
    example_id: String,
    /// The example's input.
    input: String,
    /// Ground truth, where the file has it.
    #[schema(required = true)]
    label: Option<String>,
    /// What became of the answer.
    status: AnnotationStatus,
    /// Why it is not valid.
    #[schema(required = true)]
    reason: Option<String>,
    /// The label read from it.
    #[schema(required = true)]
    teacher_label: Option<String>,
    /// The rationale read from it.
    #[schema(required = true)]
    rationale: Option<String>,
    /// The teacher's text as it came.
    #[schema(required = true)]
    raw_output: Option<String>,
    /// Tokens of the prompt, by the teacher's count.
    input_tokens: i64,
    /// Tokens of the answer, by the teacher's count.
    output_tokens: i64,
    /// From request to answer.
    latency_ms: i64,
}

/// Which events to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// The last id of the page before.
    #[serde(default, deserialize_with = "from_text")]
    after: Option<i64>,
    /// Events of a page, 1 to 1000; default 20.
    #[serde(default, deserialize_with = "from_text")]
    limit: Option<u32>,
}

/// Which metrics to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MetricsQuery {
    /// Only the figure of this name.
    name: Option<String>,
    /// Go on after this step (`120`), or after one figure of it (`120:loss`).
    #[serde(default, deserialize_with = "from_text")]
    #[param(value_type = Option<String>)]
    after: Option<MetricCursor>,
    /// Figures of a page, 1 to 1000; default 20.
    #[serde(default, deserialize_with = "from_text")]
    limit: Option<u32>,
}

/// Which annotations to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AnnotationsQuery {
    /// Only answers of this status.
    #[serde(default, deserialize_with = "from_text")]
    status: Option<AnnotationStatus>,
    /// The last `example_index` of the page before.
    #[serde(default, deserialize_with = "from_text")]
    after: Option<i64>,
    /// Answers of a page, 1 to 1000; default 20.
    #[serde(default, deserialize_with = "from_text")]
    limit: Option<u32>,
}

/// What happened to a job, oldest first.
#[utoipa::path(get, path = "/v1/jobs/{id}/events", tag = "jobs",
    params(("id" = JobId, Path, description = "The job"), EventsQuery),
    responses((status = 200, description = "A page of events", body = List<EventResource>), OfOne))]
pub async fn list_job_events(
    State(state): State<AppState>,
    id: Id<JobId>,
    Query(query): Query<EventsQuery>,
) -> Result<axum::Json<List<EventResource>>, ApiError> {
    let limit = page_size(query.limit, MAX_LIMIT)?;
    let job = find(&state, id).await?;
    let page = state.store.list_events(job.id, query.after, limit).await?;
    Ok(axum::Json(List::new(page.items.into_iter().map(EventResource::from).collect(), page.has_more)))
}

/// A job's figures by step, such as `loss` and `label_accuracy`.
#[utoipa::path(get, path = "/v1/jobs/{id}/metrics", tag = "jobs",
    params(("id" = JobId, Path, description = "The job"), MetricsQuery),
    responses((status = 200, description = "A page of figures", body = List<MetricResource>), OfOne))]
pub async fn list_job_metrics(
    State(state): State<AppState>,
    id: Id<JobId>,
    Query(query): Query<MetricsQuery>,
) -> Result<axum::Json<List<MetricResource>>, ApiError> {
    let limit = page_size(query.limit, MAX_LIMIT)?;
    let job = find(&state, id).await?;
    let page = state.store.list_metrics(job.id, query.name.as_deref(), query.after.as_ref(), limit).await?;
    Ok(axum::Json(List::new(page.items.into_iter().map(MetricResource::from).collect(), page.has_more)))
}

/// An annotation job's answers so far, in the file's order.
#[utoipa::path(get, path = "/v1/jobs/{id}/annotations", tag = "jobs",
    params(("id" = JobId, Path, description = "The job"), AnnotationsQuery),
    responses((status = 200, description = "A page of answers", body = List<AnnotationResource>), OfOne))]
pub async fn list_job_annotations(
    State(state): State<AppState>,
    id: Id<JobId>,
    Query(query): Query<AnnotationsQuery>,
) -> Result<axum::Json<List<AnnotationResource>>, ApiError> {
    let limit = page_size(query.limit, MAX_LIMIT)?;
    let job = find(&state, id).await?;
    let page = state.store.list_annotations(job.id, query.status, query.after, limit).await?;
    Ok(axum::Json(List::new(page.items.into_iter().map(AnnotationResource::from).collect(), page.has_more)))
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

impl From<Metric> for MetricResource {
    fn from(metric: Metric) -> Self {
        let created_at = metric.created_at.timestamp();
        Self { name: metric.name, step: metric.step, value: metric.value, created_at }
    }
}

impl From<Annotation> for AnnotationResource {
    fn from(annotation: Annotation) -> Self {
        Self {
            example_index: annotation.example_index,
            example_id: annotation.example_id,
            input: annotation.input,
            label: annotation.label,
            status: annotation.status,
            reason: annotation.reason,
            teacher_label: annotation.teacher_label,
            rationale: annotation.rationale,
            raw_output: annotation.raw_output,
            input_tokens: annotation.input_tokens,
            output_tokens: annotation.output_tokens,
            latency_ms: annotation.latency_ms,
        }
    }
}
