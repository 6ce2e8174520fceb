//! An annotation job's answers, in the file's order: a list, or JSON lines.

use axum::{
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    ProjectState,
    annotation_lines::{self, Wanted},
    error::ApiError,
    extract::{Id, Query, from_text, list_from_text},
    job_resource::find,
    list::{List, MAX_LIMIT, page_size},
    openapi::OfOne,
};
use crate::domain::{Annotation, AnnotationLine, AnnotationStatus, JobId, RationaleFault, Split};

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
    /// What the example may be used for; null: anything.
    #[schema(required = true)]
    split: Option<Split>,
    /// What became of the answer.
    status: AnnotationStatus,
    /// Why it is not valid.
    #[schema(required = true)]
    reason: Option<String>,
    /// The label of most samples; of equally many the one that the earliest sample gave.
    #[schema(required = true)]
    teacher_label: Option<String>,
    /// The first rationale that is kept.
    #[schema(required = true)]
    rationale: Option<String>,
    /// Further rationales that are kept, in the order of the samples.
    rationales: Vec<String>,
    /// What is wrong with the rationale, as far as that is seen in it alone and without ground truth: empty where that is
    /// nothing, and never `duplicate`, which only a report on the whole job can tell. Null where there is no rationale, or
    /// where it was settled before this was looked for.
    #[schema(required = true)]
    rationale_faults: Option<Vec<RationaleFault>>,
    /// The text of the first sample that gave the label; of the first sample where none did.
    #[schema(required = true)]
    raw_output: Option<String>,
    /// How many samples it was asked for.
    #[schema(example = 5)]
    samples: i32,
    /// Share of all samples that gave the label; null where there is none.
    #[schema(required = true, example = 0.8)]
    agreement: Option<f64>,
    /// Whether the label rests on an answer that could be read only after a repair.
    #[schema(example = false)]
    repaired: bool,
    /// Whether the rationale was written by a teacher that had been shown the right label.
    #[schema(example = false)]
    rationalized: bool,
    /// Tokens of all prompts that were paid for, by the teacher's count.
    input_tokens: i64,
    /// Tokens of all answers that were paid for, by the teacher's count.
    output_tokens: i64,
    /// From request to answer; of several samples the longest.
    latency_ms: i64,
}

/// Which annotations to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AnnotationsQuery {
    /// Only answers of this status, or of one of these: `invalid,failed`.
    #[serde(default, deserialize_with = "list_from_text")]
    #[param(value_type = Option<String>, example = "invalid,failed")]
    status: Vec<AnnotationStatus>,
    /// The last `example_index` of the page before.
    #[serde(default, deserialize_with = "from_text")]
    after: Option<i64>,
    /// Answers of a page, 1 to 1000; default 20. A page ends early, `has_more` being true, with the answer that brings it to
    /// 8 MiB of text. JSON lines have no pages and do not read it.
    #[serde(default, deserialize_with = "from_text")]
    limit: Option<u32>,
}

/// An annotation job's answers so far, in the file's order: a page, or with `Accept: application/jsonl` (or
/// `application/x-ndjson`) all of them as JSON lines, in any state of the job and while it runs.
///
/// A line has the form of the job's output file, and of its rejection file where the answer is not valid. What is settled
/// behind the place that the stream has passed is not in it: read the job first, and when it was over, the lines are all
/// there are. A stream that cannot go on breaks off; one that ends is whole.
#[utoipa::path(get, path = "/v1/jobs/{id}/annotations", tag = "jobs",
    params(("id" = JobId, Path, description = "The job"), AnnotationsQuery),
    responses((status = 200, description = "A page of answers, or all of them a line each",
        content((List<AnnotationResource> = "application/json"), (AnnotationLine = "application/jsonl"),
            (AnnotationLine = "application/x-ndjson"))), OfOne))]
pub async fn list_job_annotations(
    state: ProjectState,
    id: Id<JobId>,
    Query(query): Query<AnnotationsQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let job = find(&state, id).await?.id;
    if let Some(media) = annotation_lines::wanted(&headers) {
        let wanted = Wanted { job, statuses: query.status, after: query.after };
        return Ok(annotation_lines::answer(&state, media, wanted));
    }
    let limit = page_size(query.limit, MAX_LIMIT)?;
    let page = state.store.list_annotations(job, &query.status, query.after, limit).await?;
    let annotations = page.items.into_iter().map(AnnotationResource::from).collect();
    Ok(axum::Json(List::new(annotations, page.has_more)).into_response())
}

impl From<Annotation> for AnnotationResource {
    fn from(annotation: Annotation) -> Self {
        Self {
            example_index: annotation.example_index,
            example_id: annotation.example_id,
            input: annotation.input,
            label: annotation.label,
            split: annotation.split,
            status: annotation.status,
            reason: annotation.reason,
            teacher_label: annotation.teacher_label,
            rationale: annotation.rationale,
            rationales: annotation.more_rationales,
            rationale_faults: annotation.rationale_faults,
            raw_output: annotation.raw_output,
            samples: annotation.samples,
            agreement: annotation.agreement,
            repaired: annotation.repaired,
            rationalized: annotation.rationalized,
            input_tokens: annotation.input_tokens,
            output_tokens: annotation.output_tokens,
            latency_ms: annotation.latency_ms,
        }
    }
}
