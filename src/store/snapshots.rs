//! Pointers to the snapshots of interrupted trainings. The files are in place before a row names them.

use super::{Store, StoreError};
use crate::domain::{JobId, Lease};

/// A stored snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The hold under which it was stored.
    pub lease_epoch: i64,
    /// Optimizer steps done.
    pub step: i64,
    /// The folder of its files in the artifact store.
    pub artifact_prefix: String,
    /// The digest of the manifest there.
    pub manifest_sha256: String,
    /// The size of all its files.
    pub bytes: i64,
}

impl Store {
    /// Points to a snapshot whose files are in place. One that this hold has stored after the same step stays as it was:
    /// the statement may be repeated.
    pub async fn record_snapshot(&self, lease: Lease, snapshot: &Snapshot) -> Result<(), StoreError> {
        let held = sqlx::query_scalar!(
            r#"-- record_snapshot
            with holder as materialized (
                select id, project_id from jobs where id = $1 and lease_epoch = $2 and state = 'running' for share
            ), written as (
                insert into snapshots (job_id, lease_epoch, step, project_id, artifact_prefix, manifest_sha256, bytes)
                select id, $2, $3, project_id, $4, $5, $6 from holder
                on conflict (job_id, lease_epoch, step) do nothing
                returning job_id, project_id, step, bytes
            ), event as (
                insert into job_events (job_id, project_id, level, code, message, data)
                select job_id, project_id, 'info', 'snapshot', 'the state after step ' || step || ' is stored',
                    jsonb_build_object('step', step, 'bytes', bytes)
                from written
            )
            select id from holder"#,
            lease.job_id.0,
            lease.epoch,
            snapshot.step,
            snapshot.artifact_prefix,
            snapshot.manifest_sha256,
            snapshot.bytes,
        )
        .fetch_optional(&self.pool)
        .await?;
        held.map(drop).ok_or(StoreError::LeaseLost(lease))
    }

    /// Forgets every snapshot of the job but the one that this hold stored after `step`.
    pub async fn forget_older_snapshots(&self, lease: Lease, step: i64) -> Result<(), StoreError> {
        sqlx::query!(
            r#"-- forget_older_snapshots
            with holder as materialized (
                select id from jobs where id = $1 and lease_epoch = $2 and state = 'running' for share
            )
            delete from snapshots s using holder
            where s.job_id = holder.id and (s.lease_epoch, s.step) <> ($2, $3)"#,
            lease.job_id.0,
            lease.epoch,
            step,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets a snapshot that turned out to be unusable.
    pub async fn forget_snapshot(&self, lease: Lease, snapshot: &Snapshot) -> Result<(), StoreError> {
        sqlx::query!(
            r#"-- forget_snapshot
            with holder as materialized (
                select id from jobs where id = $1 and lease_epoch = $2 and state = 'running' for share
            )
            delete from snapshots s using holder
            where s.job_id = holder.id and s.lease_epoch = $3 and s.step = $4"#,
            lease.job_id.0,
            lease.epoch,
            snapshot.lease_epoch,
            snapshot.step,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// A job's snapshots, the newest first.
    pub async fn snapshots(&self, job: JobId) -> Result<Vec<Snapshot>, StoreError> {
        Ok(sqlx::query_as!(
            Snapshot,
            r#"-- snapshots
            select lease_epoch, step, artifact_prefix, manifest_sha256, bytes
            from snapshots
            where job_id = $1
            order by lease_epoch desc, step desc"#,
            job.0,
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// Succeeded jobs that still have snapshots, with their last epoch.
    pub async fn succeeded_with_snapshots(&self, limit: u32) -> Result<Vec<(JobId, i64)>, StoreError> {
        let rows = sqlx::query!(
            r#"-- succeeded_with_snapshots
            select distinct j.id, j.lease_epoch
            from snapshots s join jobs j on j.id = s.job_id
            where j.state = 'succeeded'
            limit $1"#,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (JobId(row.id), row.lease_epoch)).collect())
    }

    /// Forgets the snapshots of a job, if it has succeeded.
    pub async fn forget_snapshots_of_succeeded(&self, job: JobId) -> Result<(), StoreError> {
        sqlx::query!(
            r#"-- forget_snapshots_of_succeeded
            delete from snapshots s using jobs j
            where s.job_id = $1 and j.id = s.job_id and j.state = 'succeeded'"#,
            job.0,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
