//! `POST /v1/distillation-jobs`: rows to a student.

use axum::response::Response;

use super::{
    ProjectState,
    error::ApiError,
    idempotency::KeyHeader,
    job_resource::JobResource,
    openapi::Submitted,
    resolve::distillation::{DistillationJobRequest, resolve},
    submit::{DryRun, Submit, SubmitQuery, submit},
};

/// Train a student on labels and rationales.
#[utoipa::path(post, path = "/v1/distillation-jobs", tag = "jobs", request_body = DistillationJobRequest,
    params(SubmitQuery, KeyHeader),
    responses((status = 200, description = "A dry run: nothing was changed", body = DryRun),
        (status = 201, description = "It is queued", body = JobResource,
            headers(("location" = String, description = "Where the job is"))), Submitted))]
pub async fn create_distillation_job(
    state: ProjectState,
    request: Submit<DistillationJobRequest>,
) -> Result<Response, ApiError> {
    submit(&state, request, "POST /v1/distillation-jobs", resolve).await
}
