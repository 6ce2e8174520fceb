//! A model that a job names, with its files on this machine.

use super::{Attempt, AttemptError, Worker, hub};
use crate::domain::{JobError, ModelFiles, ModelTarget, StudentSource};

/// What the name means to the job, and its files: brought where it is a model of the Hub, at the commit that the job's first
/// attempt found.
pub async fn open(
    worker: &Worker,
    attempt: &Attempt,
    name: &str,
    target: Option<&ModelTarget>,
) -> Result<(StudentSource, ModelFiles), AttemptError> {
    let means = match target {
        Some(ModelTarget::Hub(id)) => Some(ModelTarget::Hub(id.at(&hub::bring(worker, attempt, id).await?.commit))),
        other => other.cloned(),
    };
    let found = worker.registry.find_for_job(attempt.job.project_id, name, means.as_ref()).await?;
    let missing = || AttemptError::fatal(JobError::new("model_missing", format!("there is no model {name:?}")));
    let source = found.ok_or_else(missing)?;
    let files = worker.registry.open(&source).await?;
    Ok((source, files))
}
