//! What every kind of job is submitted with.

use serde_json::{Map, Value};

use super::Refusals;
use crate::{
    api::{ProjectState, error::ApiError, field_error::member},
    domain::{JobId, JobSpec, JobState},
    leakage::Leakage,
    store::NewJob,
    telemetry::chain,
};

/// The user's own labels of a job.
pub type Metadata = Map<String, Value>;

/// One point of priority is worth 15 minutes of waiting; a week is enough.
const MAX_PRIORITY: i32 = 1000;
const MAX_DEPENDENCIES: usize = 64;
/// Attempts that a job gets: transient trouble passes within five, and a fault of the job shows in them.
const MAX_ATTEMPTS: i32 = 5;

/// The part of a request that all kinds of job share.
#[derive(Debug, Default)]
pub struct Submission {
    /// Higher runs sooner.
    pub priority: Option<i32>,
    /// The user's own labels.
    pub metadata: Option<Metadata>,
    /// Jobs that must succeed first.
    pub depends_on: Option<Vec<JobId>>,
}

impl Submission {
    /// Checks it, and that the jobs it waits for can still succeed.
    pub async fn check(&self, state: &ProjectState, refusals: &mut Refusals) -> Result<(), ApiError> {
        let priority = self.priority.unwrap_or_default();
        refusals.require((-MAX_PRIORITY..=MAX_PRIORITY).contains(&priority), "#/priority", || {
            format!("priority is {priority}; send -{MAX_PRIORITY} to {MAX_PRIORITY}")
        });
        check_metadata(self.metadata.iter().flatten(), refusals);
        let depends_on = self.depends_on.as_deref().unwrap_or_default();
        if depends_on.len() > MAX_DEPENDENCIES {
            refusals.add("#/depends_on", "invalid_value", format!("a job waits for {MAX_DEPENDENCIES} others at most"));
            return Ok(());
        }
        for (index, id) in depends_on.iter().enumerate() {
            parent(state, refusals, &format!("#/depends_on/{index}"), *id).await?;
        }
        Ok(())
    }

    /// The job to store; `implied` are jobs that its inputs come from.
    pub fn into_job(self, state: &ProjectState, spec: JobSpec, implied: Vec<JobId>) -> NewJob {
        let mut depends_on = self.depends_on.unwrap_or_default();
        depends_on.extend(implied);
        depends_on.sort_unstable();
        depends_on.dedup();
        NewJob {
            id: JobId(state.clock.new_id()),
            project_id: state.project,
            spec,
            priority: self.priority.unwrap_or_default(),
            max_attempts: MAX_ATTEMPTS,
            depends_on,
            models: Vec::new(),
            checkpoints: Vec::new(),
            metadata: self.metadata.unwrap_or_default(),
            estimate: None,
            holder: None,
            warnings: Vec::new(),
        }
    }
}

/// Adds a warning for rows that the job's files share. Rows that cannot be compared are no reason to refuse a job.
pub async fn warn_of_leakage(state: &ProjectState, mut job: NewJob) -> NewJob {
    let (store, artifacts, registry) = (&state.store, &state.artifacts, &state.registry);
    let leakage = Leakage { store, artifacts, registry, project: job.project_id };
    match leakage.warnings(&job.spec).await {
        Ok(warnings) => job.warnings.extend(warnings),
        Err(error) => tracing::warn!(job = %job.id, error = %chain(&error), "the job's rows could not be compared"),
    }
    job
}

/// A job that another one will wait for: it must exist, and must not have ended without success.
pub async fn parent(
    state: &ProjectState,
    refusals: &mut Refusals,
    pointer: &str,
    id: JobId,
) -> Result<Option<crate::domain::Job>, ApiError> {
    let found = state.store.job(state.project, id).await?;
    match &found {
        None => refusals.add(pointer, "job_not_found", format!("there is no job {id}")),
        Some(job) if matches!(job.state, JobState::Failed | JobState::Cancelled) => {
            refusals.add(pointer, "dependency_failed", format!("{id} is {} and will never succeed", job.state));
        }
        Some(_) => return Ok(found),
    }
    Ok(None)
}

/// OpenAI's limits: at most 16 pairs, keys of 64 and texts of 512 characters.
fn check_metadata<'a>(pairs: impl Iterator<Item = (&'a String, &'a Value)>, refusals: &mut Refusals) {
    let mut count = 0;
    for (key, value) in pairs {
        count += 1;
        let pointer = member("#/metadata", key);
        refusals.require(key.chars().count() <= 64, &pointer, || "a key has 64 characters at most".to_owned());
        match value {
            Value::String(text) if text.chars().count() <= 512 => {}
            Value::String(_) => refusals.add(pointer, "invalid_value", "a value has 512 characters at most"),
            _ => refusals.add(pointer, "wrong_type", "a value is a string"),
        }
    }
    refusals.require(count <= 16, "#/metadata", || format!("{count} pairs; 16 at most"));
}
