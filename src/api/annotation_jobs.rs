//! `POST /v1/annotation-jobs`: examples to annotations.

use axum::{extract::State, response::Response};

use super::{
    AppState,
    error::ApiError,
    extract::Json,
    job_resource::{JobResource, submit},
    openapi::Create,
    resolve::annotation::{AnnotationJobRequest, resolve},
};

/// Ask a teacher about every example of a file: a rationale and a label for each.
#[utoipa::path(post, path = "/v1/annotation-jobs", tag = "jobs", request_body = AnnotationJobRequest,
    responses((status = 201, description = "It is queued", body = JobResource,
        headers(("location" = String, description = "Where the job is"))), Create))]
pub async fn create_annotation_job(
    State(state): State<AppState>,
    Json(request): Json<AnnotationJobRequest>,
) -> Result<Response, ApiError> {
    let job = resolve(&state, request).await?;
    submit(&state, &job).await
}
