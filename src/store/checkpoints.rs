//! Checkpoints that trainings left on their way, and which of them are kept.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Deletion, Store, StoreError, rows::Place, storable};
use crate::domain::{Checkpoint, CheckpointId, JobId, KeepCheckpoints, Lease, ProjectId};

/// Which checkpoint is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichCheckpoint {
    /// The one of this id.
    Id(CheckpointId),
    /// The one that this job left after this step.
    Step(JobId, i64),
}

impl Store {
    /// Registers a published checkpoint with its event. One that the job has already for this step stays; whether this
    /// one was new.
    pub async fn insert_checkpoint(&self, lease: Lease, checkpoint: &Checkpoint) -> Result<bool, StoreError> {
        let row = sqlx::query!(
            r#"-- insert_checkpoint
            with holder as materialized (
                select id, project_id from jobs where id = $1 and lease_epoch = $2 and state = 'running' for update
            ), made as (
                insert into checkpoints (id, project_id, job_id, step, accuracy, metrics, lineage, artifact_prefix,
                    manifest_sha256, bytes)
                select $3, project_id, id, $4, $5, $6, $7, $8, $9, $10 from holder
                on conflict (job_id, step) where deleted_at is null do nothing
                returning job_id, project_id, step
            ), event as (
                insert into job_events (job_id, project_id, level, code, message, data)
                select job_id, project_id, 'info', 'checkpoint_saved', 'kept the student after step ' || step,
                    jsonb_build_object('step', step)
                from made
            )
            select exists (select from holder) as "held!", exists (select from made) as "made!""#,
            lease.job_id.0,
            lease.epoch,
            checkpoint.id.0,
            checkpoint.step,
            checkpoint.accuracy,
            storable::json(&checkpoint.metrics),
            storable::json(&checkpoint.lineage),
            checkpoint.artifact_prefix,
            checkpoint.manifest_sha256,
            checkpoint.bytes,
        )
        .fetch_one(&self.pool)
        .await?;
        if row.held { Ok(row.made) } else { Err(StoreError::LeaseLost(lease)) }
    }

    /// One checkpoint.
    pub async fn checkpoint(
        &self,
        project: ProjectId,
        which: WhichCheckpoint,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let (id, job, step) = match which {
            WhichCheckpoint::Id(id) => (Some(id.0), None, None),
            WhichCheckpoint::Step(job, step) => (None, Some(job.0), Some(step)),
        };
        let row = sqlx::query_as!(
            CheckpointRow,
            r#"-- checkpoint
            select c.id, c.project_id, m.name as "model?", c.job_id, c.step, c.accuracy, c.metrics, c.lineage,
                c.artifact_prefix, c.manifest_sha256, c.bytes, c.created_at,
                c.accuracy is not null and not exists (
                    select from checkpoints o
                    where o.job_id = c.job_id and o.deleted_at is null and (o.accuracy, o.step) > (c.accuracy, c.step)
                ) as "best!"
            from checkpoints c left join models m on m.job_id = c.job_id and m.deleted_at is null
            where c.project_id = $1 and c.deleted_at is null and (c.id = $2 or (c.job_id = $3 and c.step = $4))"#,
            project.0,
            id,
            job,
            step,
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(Checkpoint::try_from).transpose()
    }

    /// Takes away what is not among the last or the best of a job's checkpoints, unless an alias points to it or an
    /// unfinished job uses it. Returns how many; their files are the caller's to remove.
    pub async fn retire_checkpoints(&self, job: JobId, keep: KeepCheckpoints) -> Result<u64, StoreError> {
        // A task of its own, so that a caller who goes away leaves no connection inside a transaction.
        tokio::spawn(retire_checkpoints(self.pool.clone(), job, keep)).await.map_err(StoreError::Abandoned)?
    }

    /// Takes a checkpoint away that no alias points to and no unfinished job uses.
    pub async fn delete_checkpoint(&self, project: ProjectId, id: CheckpointId) -> Result<Deletion<()>, StoreError> {
        tokio::spawn(delete_checkpoint(self.pool.clone(), project, id)).await.map_err(StoreError::Abandoned)?
    }
}

/// Two statements, as in `delete_model`: aliases and jobs lock the checkpoints that they name.
async fn retire_checkpoints(pool: PgPool, job: JobId, keep: KeepCheckpoints) -> Result<u64, StoreError> {
    let mut transaction = pool.begin().await?;
    sqlx::query!(
        r#"-- retire_checkpoints: lock
        select id from checkpoints where job_id = $1 and deleted_at is null order by id for update"#,
        job.0,
    )
    .fetch_all(&mut *transaction)
    .await?;
    let retired = sqlx::query!(
        r#"-- retire_checkpoints
        with ranked as (
            select id, accuracy, row_number() over (order by step desc) as age,
                row_number() over (order by accuracy desc nulls last, step desc) as place
            from checkpoints
            where job_id = $1 and deleted_at is null
        )
        update checkpoints c
        set deleted_at = clock_timestamp()
        from ranked
        where c.id = ranked.id and ranked.age > $2 and (ranked.accuracy is null or ranked.place > $3)
            and not exists (select from model_names n where n.checkpoint_id = c.id)
            and not exists (
                select from job_checkpoints u join jobs j on j.id = u.job_id
                where u.checkpoint_id = c.id and j.state in ('queued', 'running', 'paused')
            )"#,
        job.0,
        i64::from(keep.last.max(1)),
        i64::from(keep.best.max(1)),
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(retired.rows_affected())
}

async fn delete_checkpoint(pool: PgPool, project: ProjectId, id: CheckpointId) -> Result<Deletion<()>, StoreError> {
    let mut transaction = pool.begin().await?;
    let found = sqlx::query_scalar!(
        r#"-- delete_checkpoint: lock
        select id from checkpoints where id = $1 and project_id = $2 and deleted_at is null for update"#,
        id.0,
        project.0,
    )
    .fetch_optional(&mut *transaction)
    .await?;
    if found.is_none() {
        return Ok(Deletion::NotFound);
    }
    let held = sqlx::query!(
        r#"-- delete_checkpoint
        with alias as materialized (
            select name from model_names where checkpoint_id = $1 order by name limit 1
        ), reader as materialized (
            select j.id
            from job_checkpoints u join jobs j on j.id = u.job_id
            where u.checkpoint_id = $1 and j.state in ('queued', 'running', 'paused')
            order by j.id
            limit 1
        ), deleted as (
            update checkpoints set deleted_at = clock_timestamp()
            where id = $1 and not exists (select from alias) and not exists (select from reader)
        )
        select (select name from alias) as alias, (select id from reader) as reader"#,
        id.0,
    )
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Deletion::unless_held(held.alias, held.reader, ()))
}

/// A row of `checkpoints` with the name of its job's model.
pub(super) struct CheckpointRow {
    pub(super) id: Uuid,
    pub(super) project_id: Uuid,
    pub(super) model: Option<String>,
    pub(super) job_id: Uuid,
    pub(super) step: i64,
    pub(super) accuracy: Option<f64>,
    pub(super) best: bool,
    pub(super) metrics: Value,
    pub(super) lineage: Value,
    pub(super) artifact_prefix: String,
    pub(super) manifest_sha256: String,
    pub(super) bytes: i64,
    pub(super) created_at: DateTime<Utc>,
}

impl TryFrom<CheckpointRow> for Checkpoint {
    type Error = StoreError;

    fn try_from(row: CheckpointRow) -> Result<Self, StoreError> {
        let at = Place { table: "checkpoints", id: &CheckpointId(row.id) };
        let job_id = JobId(row.job_id);
        let of = row.model.unwrap_or_else(|| job_id.to_string());
        Ok(Self {
            id: CheckpointId(row.id),
            project_id: ProjectId(row.project_id),
            name: Self::name_of(&of, row.step),
            job_id,
            step: row.step,
            accuracy: row.accuracy,
            best: row.best,
            metrics: at.json("metrics", row.metrics)?,
            lineage: at.json("lineage", row.lineage)?,
            artifact_prefix: row.artifact_prefix,
            manifest_sha256: row.manifest_sha256,
            bytes: row.bytes,
            created_at: row.created_at,
        })
    }
}
