//! `POST /v1/fine_tuning/jobs`: a distillation, asked for in OpenAI's words. What it may be is decided where distillations are
//! resolved.

use std::borrow::Cow;

use axum::response::Response;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{
    job::{FineTuning, FineTuningJobResource},
    request::FineTuningJobRequest,
    translation::translate,
};
use crate::{
    api::{
        ProjectState,
        error::ApiError,
        idempotency::KeyHeader,
        one_of::one_of,
        openapi::Submitted,
        resolve::distillation,
        submit::{DryRun, Submit, SubmitQuery, submit_as},
    },
    domain::{JobSpec, named_after},
    store::NewJob,
};

/// Fine-tune a student.
///
/// The job is the distillation that `/v1/distillation-jobs` makes of the same: `supervised`, the default, learns the `label`s of
/// the file (method `standard`, `label_source` `ground_truth`); `step_by_step` learns a teacher's labels and rationales. The
/// finished model is called after the student, the `suffix` and the job. With `dry_run=true` the answer is that of
/// `/v1/distillation-jobs`, and nothing is changed.
#[utoipa::path(post, path = "/v1/fine_tuning/jobs", tag = "openai", request_body = FineTuningJobRequest,
    params(SubmitQuery, KeyHeader),
    responses((status = 200, description = "It is queued; or of a dry run, which has changed nothing, what it would do",
        body = FineTuningAnswer), Submitted))]
pub async fn create_fine_tuning_job(
    state: ProjectState,
    request: Submit<FineTuningJobRequest>,
) -> Result<Response, ApiError> {
    submit_as::<_, FineTuning>(&state, request, "POST /v1/fine_tuning/jobs", resolve).await
}

/// The forms of the answer, for the document.
pub struct FineTuningAnswer;

impl PartialSchema for FineTuningAnswer {
    fn schema() -> RefOr<Schema> {
        one_of("The job; or what a dry run would do.", [FineTuningJobResource::name(), DryRun::name()])
    }
}

impl ToSchema for FineTuningAnswer {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("FineTuningAnswer")
    }
}

async fn resolve(state: &ProjectState, request: FineTuningJobRequest) -> Result<NewJob, ApiError> {
    let suffix = request.suffix.clone();
    let (native, pointers) = translate(request)?;
    let job = distillation::resolve(state, native).await.map_err(|error| pointers.refused(error))?;
    Ok(suffix.into_iter().fold(job, named))
}

/// The job with the suffix in its model's name.
fn named(mut job: NewJob, suffix: String) -> NewJob {
    if let JobSpec::Distillation(spec) = &mut job.spec {
        spec.model_name = Some(named_after(spec.student.name(), &suffix, job.id));
    }
    job
}
