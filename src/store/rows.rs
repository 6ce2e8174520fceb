//! From rows to the domain. A row that does not fit names its table, column and id: a newer program or a hand wrote it.

use std::{error::Error, fmt::Display};

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::StoreError;
use crate::domain::{Job, JobId, JobKind, JobSpec, PauseReason, Progress, ProjectId, WorkerId};

/// A row of `jobs` with the ids of the jobs it depends on.
pub(super) struct JobRow {
    pub id: Uuid,
    pub project_id: Uuid,
    pub kind: String,
    pub state: String,
    pub spec: Value,
    pub priority: i32,
    pub progress_step: Option<i64>,
    pub progress_total: Option<i64>,
    pub progress_at: Option<DateTime<Utc>>,
    pub result: Option<Value>,
    pub error: Option<Value>,
    pub attempt: i32,
    pub max_attempts: i32,
    pub lost_count: i32,
    pub lease_epoch: i64,
    pub lease_owner: Option<Uuid>,
    pub depends_on: Vec<Uuid>,
    pub pause_reason: Option<String>,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    pub pause_requested_at: Option<DateTime<Utc>>,
    pub metadata: Value,
    pub warnings: Value,
    pub created_at: DateTime<Utc>,
    pub run_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub pace_step: Option<i64>,
    pub pace_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub estimate: Option<Value>,
    pub estimate_error: Option<Value>,
}

impl TryFrom<JobRow> for Job {
    type Error = StoreError;

    fn try_from(row: JobRow) -> Result<Self, StoreError> {
        let at = Place { table: "jobs", id: &JobId(row.id) };
        let kind: JobKind = at.name("kind", &row.kind)?;
        let spec: JobSpec = at.json("spec", row.spec)?;
        if spec.kind() != kind {
            return Err(at.unreadable("kind", format!("it is {kind} and its spec is {}", spec.kind())));
        }
        Ok(Self {
            id: JobId(row.id),
            project_id: ProjectId(row.project_id),
            state: at.name("state", &row.state)?,
            spec,
            priority: row.priority,
            progress: row.progress_step.zip(row.progress_total).map(|(step, total)| Progress { step, total }),
            progress_at: row.progress_at,
            result: row.result,
            error: row.error.map(|error| at.json("error", error)).transpose()?,
            attempt: row.attempt,
            max_attempts: row.max_attempts,
            lost_count: row.lost_count,
            lease_epoch: row.lease_epoch,
            lease_owner: row.lease_owner.map(WorkerId),
            depends_on: row.depends_on.into_iter().map(JobId).collect(),
            pause_reason: row.pause_reason.map(|name| at.name::<PauseReason>("pause_reason", &name)).transpose()?,
            cancel_requested_at: row.cancel_requested_at,
            pause_requested_at: row.pause_requested_at,
            metadata: at.json("metadata", row.metadata)?,
            warnings: at.json("warnings", row.warnings)?,
            created_at: row.created_at,
            run_at: row.run_at,
            started_at: row.started_at,
            pace_from: row.pace_step.zip(row.pace_at),
            finished_at: row.finished_at,
            estimate: row.estimate.map(|estimate| at.json("estimate", estimate)).transpose()?,
            estimate_error: row.estimate_error.map(|error| at.json("estimate_error", error)).transpose()?,
        })
    }
}

/// A row whose columns are being read.
pub(super) struct Place<'a> {
    pub table: &'static str,
    pub id: &'a dyn Display,
}

impl Place<'_> {
    /// A column that holds one of a set of names.
    pub fn name<T>(&self, column: &'static str, name: &str) -> Result<T, StoreError>
    where
        T: std::str::FromStr,
        T::Err: Into<Box<dyn Error + Send + Sync>>,
    {
        name.parse().map_err(|error| self.unreadable(column, error))
    }

    /// A column that holds a value as JSON.
    pub fn json<T: DeserializeOwned>(&self, column: &'static str, value: Value) -> Result<T, StoreError> {
        serde_json::from_value(value).map_err(|error| self.unreadable(column, error))
    }

    /// Says what is wrong with a column.
    pub fn unreadable(&self, column: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
        StoreError::Row { table: self.table, column, id: self.id.to_string(), source: source.into() }
    }
}

/// Reads a state that a statement of ours returned.
pub(super) fn job_state(id: JobId, name: &str) -> Result<crate::domain::JobState, StoreError> {
    Place { table: "jobs", id: &id }.name("state", name)
}
