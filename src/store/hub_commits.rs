//! What the Hub ids of a job mean: the commit that its first attempt found, for every attempt after it.

use super::{Store, StoreError, rows::Place};
use crate::domain::{HubCommit, HubId, JobId, Lease};

impl Store {
    /// The commit that a Hub id means to a job; none while no attempt has looked it up.
    pub async fn hub_commit(&self, job: JobId, model: &HubId) -> Result<Option<HubCommit>, StoreError> {
        let commit = sqlx::query_scalar!(
            r#"-- hub_commit
            select commit from hub_commits where job_id = $1 and model = $2"#,
            job.0,
            model.to_string(),
        )
        .fetch_optional(&self.pool)
        .await?;
        commit.map(|commit| readable(job, &commit)).transpose()
    }

    /// Keeps what a Hub id means to the job that a worker holds, with an event, unless an earlier attempt did: whoever holds
    /// the job has asked for that one's commit then.
    pub async fn pin_hub_commit(&self, lease: Lease, model: &HubId, commit: &HubCommit) -> Result<(), StoreError> {
        let held = sqlx::query_scalar!(
            r#"-- pin_hub_commit
            with holder as materialized (
                select id, project_id from jobs where id = $1 and lease_epoch = $2 and state = 'running' for update
            ), pinned as (
                insert into hub_commits (job_id, model, project_id, commit)
                select id, $3, project_id, $4 from holder
                on conflict (job_id, model) do nothing
                returning job_id, model, project_id, commit
            ), event as (
                insert into job_events (job_id, project_id, level, code, message, data)
                select job_id, project_id, 'info', 'hub_commit', model || ' means commit ' || commit || ' to this job',
                    jsonb_build_object('model', model, 'commit', commit)
                from pinned
            )
            select id from holder"#,
            lease.job_id.0,
            lease.epoch,
            model.to_string(),
            commit.as_str(),
        )
        .fetch_optional(&self.pool)
        .await?;
        held.map(drop).ok_or(StoreError::LeaseLost(lease))
    }
}

fn readable(job: JobId, commit: &str) -> Result<HubCommit, StoreError> {
    commit.parse().map_err(|error: crate::domain::NoHubCommit| {
        Place { table: "hub_commits", id: &job }.unreadable("commit", error)
    })
}
