//! `POST /v1/evaluation-jobs`: models against ground truth, against each other and against the teacher.

use axum::response::Response;

use super::{
    ProjectState,
    error::ApiError,
    idempotency::KeyHeader,
    job_resource::JobResource,
    openapi::Submitted,
    resolve::evaluation::{EvaluationJobRequest, resolve},
    submit::{DryRun, Submit, SubmitQuery, submit},
};

/// Score models, and the teacher's stored answers, on the rows of one file that have ground truth.
///
/// The job's `result` has the form `Evaluation`: for each subject its accuracy with a 95 % interval, figures by label and a
/// confusion matrix; for each pair the paired difference with its interval and McNemar's exact p. Its `output_file` has one
/// line a row: `{id, input, label, models: {name: {generated, scored_label, confidence, correct, scored_correct}}, teacher}`.
#[utoipa::path(post, path = "/v1/evaluation-jobs", tag = "jobs", request_body = EvaluationJobRequest,
    params(SubmitQuery, KeyHeader),
    responses((status = 200, description = "A dry run: nothing was changed", body = DryRun),
        (status = 201, description = "It is queued", body = JobResource,
            headers(("location" = String, description = "Where the job is"))), Submitted))]
pub async fn create_evaluation_job(
    state: ProjectState,
    request: Submit<EvaluationJobRequest>,
) -> Result<Response, ApiError> {
    submit(&state, request, "POST /v1/evaluation-jobs", resolve).await
}
