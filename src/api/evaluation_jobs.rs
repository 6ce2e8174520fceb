//! `POST /v1/evaluation-jobs`: models against ground truth.

use axum::{extract::State, response::Response};

use super::{
    AppState,
    error::ApiError,
    idempotency::KeyHeader,
    job_resource::JobResource,
    openapi::Submitted,
    resolve::evaluation::{EvaluationJobRequest, resolve},
    submit::{DryRun, Submit, SubmitQuery, submit},
};

/// Score models on the rows of one file that have ground truth.
#[utoipa::path(post, path = "/v1/evaluation-jobs", tag = "jobs", request_body = EvaluationJobRequest,
    params(SubmitQuery, KeyHeader),
    responses((status = 200, description = "A dry run: nothing was changed", body = DryRun),
        (status = 201, description = "It is queued", body = JobResource,
            headers(("location" = String, description = "Where the job is"))), Submitted))]
pub async fn create_evaluation_job(
    State(state): State<AppState>,
    request: Submit<EvaluationJobRequest>,
) -> Result<Response, ApiError> {
    submit(&state, request, "POST /v1/evaluation-jobs", resolve).await
}
