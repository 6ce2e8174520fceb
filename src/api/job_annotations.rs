//! An annotation job's answers, in the file's order.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    AppState,
    error::ApiError,
    extract::{Id, Query, from_text},
    job_resource::find,
    list::{List, MAX_LIMIT, page_size},
    openapi::OfOne,
};
use crate::domain::{Annotation, AnnotationStatus, JobId};

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
    /// Answers of a page, 1 to 1000; default 20. A page ends early, `has_more` being true, with the answer that brings it to
    /// 8 MiB of text.
    #[serde(default, deserialize_with = "from_text")]
    limit: Option<u32>,
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
