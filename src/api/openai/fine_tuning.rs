//! `/v1/fine_tuning/jobs`: distillations in OpenAI's shapes, for its unmodified SDKs. They are the jobs of `/v1/jobs` under the
//! same ids: whichever way one was submitted, both show it and both move it.

pub mod checkpoints;
pub mod create;
pub mod events;
mod figures;
mod job;
pub mod jobs;
mod knobs;
mod method;
mod pointers;
mod request;
pub mod requests;
mod told_id;
mod translation;

use crate::{
    api::{ProjectState, error::ApiError, extract::Id},
    domain::{DistillationSpec, Job, JobId, JobSpec},
};

/// A distillation by its id; a job of another kind is no fine-tuning.
async fn find(state: &ProjectState, id: Id<JobId>) -> Result<Job, ApiError> {
    let job = state.store.job(state.project, id.0).await?;
    job.filter(|job| spec(job).is_some()).ok_or_else(|| missing(id.0))
}

/// The 404 of a job that is no fine-tuning, or is not there.
fn missing(id: JobId) -> ApiError {
    ApiError::NotFound { what: "fine-tuning job", id: id.to_string() }
}

/// What a distillation was asked to do; none for a job of another kind.
fn spec(job: &Job) -> Option<&DistillationSpec> {
    if let JobSpec::Distillation(spec) = &job.spec { Some(spec) } else { None }
}
