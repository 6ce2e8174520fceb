//! `POST /v1/distillation-jobs`: rows to a student.

use axum::{extract::State, response::Response};

use super::{
    AppState,
    error::ApiError,
    extract::Json,
    job_resource::{JobResource, submit},
    openapi::Create,
    resolve::distillation::{DistillationJobRequest, resolve},
};

/// Train a student on labels and rationales.
#[utoipa::path(post, path = "/v1/distillation-jobs", tag = "jobs", request_body = DistillationJobRequest,
    responses((status = 201, description = "It is queued", body = JobResource,
        headers(("location" = String, description = "Where the job is"))), Create))]
pub async fn create_distillation_job(
    State(state): State<AppState>,
    Json(request): Json<DistillationJobRequest>,
) -> Result<Response, ApiError> {
    let job = resolve(&state, request).await?;
    submit(&state, &job).await
}
