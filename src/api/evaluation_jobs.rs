//! `POST /v1/evaluation-jobs`: models against ground truth.

use axum::{extract::State, response::Response};

use super::{
    AppState,
    error::ApiError,
    extract::Json,
    job_resource::{JobResource, submit},
    openapi::Create,
    resolve::evaluation::{EvaluationJobRequest, resolve},
};

/// Score models on the rows of one file that have ground truth.
#[utoipa::path(post, path = "/v1/evaluation-jobs", tag = "jobs", request_body = EvaluationJobRequest,
    responses((status = 201, description = "It is queued", body = JobResource,
        headers(("location" = String, description = "Where the job is"))), Create))]
pub async fn create_evaluation_job(
    State(state): State<AppState>,
    Json(request): Json<EvaluationJobRequest>,
) -> Result<Response, ApiError> {
    let job = resolve(&state, request).await?;
    submit(&state, &job).await
}
