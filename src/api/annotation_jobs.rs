//! `POST /v1/annotation-jobs`: examples to annotations.

use axum::response::Response;

use super::{
    ProjectState,
    error::ApiError,
    idempotency::KeyHeader,
    job_resource::JobResource,
    openapi::Submitted,
    resolve::annotation::{AnnotationJobRequest, resolve},
    submit::{DryRun, Submit, SubmitQuery, submit},
};

/// Ask a teacher about every example of a file: a rationale and a label for each.
#[utoipa::path(post, path = "/v1/annotation-jobs", tag = "jobs", request_body = AnnotationJobRequest,
    params(SubmitQuery, KeyHeader),
    responses((status = 200, description = "A dry run: nothing was changed", body = DryRun),
        (status = 201, description = "It is queued", body = JobResource,
            headers(("location" = String, description = "Where the job is"))), Submitted))]
pub async fn create_annotation_job(
    state: ProjectState,
    request: Submit<AnnotationJobRequest>,
) -> Result<Response, ApiError> {
    submit(&state, request, "POST /v1/annotation-jobs", resolve).await
}
