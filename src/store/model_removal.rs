//! Taking models away: the row first, then the files, then a note that the files are gone. A crash in between leaves
//! files that [`Store::unpurged`] still lists, so that any process can sweep them later.

use sqlx::PgPool;
use uuid::Uuid;

use super::{Store, StoreError, models::ModelRow};
use crate::domain::{Checkpoint, JobId, Model, ModelId, ProjectId};

/// What became of a request to delete a model or a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub enum Deletion<T> {
    /// It is gone and its name is free; its files are the caller's to remove.
    Deleted(T),
    /// There is no such thing.
    NotFound,
    /// This alias points to it.
    HasAlias(String),
    /// This job, which is not terminal, trains from it or scores it.
    InUse(JobId),
}

impl<T> Deletion<T> {
    /// What holds on to it, where anything does; else what is gone.
    pub(super) fn unless_held(alias: Option<String>, reader: Option<Uuid>, gone: T) -> Self {
        match (alias, reader) {
            (Some(alias), _) => Self::HasAlias(alias),
            (None, Some(job)) => Self::InUse(JobId(job)),
            (None, None) => Self::Deleted(gone),
        }
    }
}

/// What was taken away while its files may still be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// What it was.
    pub kind: RemovedKind,
    /// Its id.
    pub id: Uuid,
    /// The folder of its files in the artifact store.
    pub artifact_prefix: String,
}

impl From<&Model> for Removed {
    fn from(model: &Model) -> Self {
        Self { kind: RemovedKind::Model, id: model.id.0, artifact_prefix: model.artifact_prefix.clone() }
    }
}

impl From<&Checkpoint> for Removed {
    fn from(checkpoint: &Checkpoint) -> Self {
        let artifact_prefix = checkpoint.artifact_prefix.clone();
        Self { kind: RemovedKind::Checkpoint, id: checkpoint.id.0, artifact_prefix }
    }
}

/// What was taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovedKind {
    /// A registered model.
    Model,
    /// A checkpoint.
    Checkpoint,
}

impl Store {
    /// Takes a model away that no alias points to and no unfinished job uses.
    pub async fn delete_model(&self, project: ProjectId, id: ModelId) -> Result<Deletion<Model>, StoreError> {
        // A task of its own, so that a caller who goes away leaves no connection inside a transaction.
        tokio::spawn(delete_model(self.pool.clone(), project, id)).await.map_err(StoreError::Abandoned)?
    }

    /// What was taken away, while nobody has noted that its files are gone: by id, those after this one.
    pub async fn unpurged(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<Removed>, StoreError> {
        let rows = sqlx::query!(
            r#"-- unpurged
            select id as "id!", artifact_prefix as "artifact_prefix!", is_model as "is_model!"
            from (
                select id, artifact_prefix, true as is_model from models
                where deleted_at is not null and purged_at is null
                union all
                select id, artifact_prefix, false from checkpoints
                where deleted_at is not null and purged_at is null
            ) as removed
            where $1::uuid is null or id > $1
            order by id
            limit $2"#,
            after,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let removed = rows.into_iter().map(|row| Removed {
            kind: if row.is_model { RemovedKind::Model } else { RemovedKind::Checkpoint },
            id: row.id,
            artifact_prefix: row.artifact_prefix,
        });
        Ok(removed.collect())
    }

    /// Notes that the files are gone. Idempotent.
    pub async fn purged(&self, removed: &Removed) -> Result<(), StoreError> {
        sqlx::query!(
            r#"-- purged
            with model as (
                update models set purged_at = clock_timestamp()
                where $2 and id = $1 and deleted_at is not null and purged_at is null
            )
            update checkpoints set purged_at = clock_timestamp()
            where not $2 and id = $1 and deleted_at is not null and purged_at is null"#,
            removed.id,
            removed.kind == RemovedKind::Model,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Which of these digests a model or checkpoint still has.
    pub async fn live_manifests(&self, digests: &[String]) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"-- live_manifests
            select manifest_sha256 as "digest!" from models
            where manifest_sha256 = any($1) and deleted_at is null
            union
            select manifest_sha256 from checkpoints
            where manifest_sha256 = any($1) and deleted_at is null"#,
            digests,
        )
        .fetch_all(&self.pool)
        .await?)
    }
}

/// Two statements, because only a statement that begins after the lock is held sees a job that was submitted, or an alias
/// that was moved, while we waited for it: both lock the model's row as well.
async fn delete_model(pool: PgPool, project: ProjectId, id: ModelId) -> Result<Deletion<Model>, StoreError> {
    let mut transaction = pool.begin().await?;
    let row = sqlx::query_as!(
        ModelRow,
        r#"-- delete_model: lock
        select id, project_id, name, base, base_model_id, job_id, lineage, task, metrics, artifact_prefix, manifest_sha256,
            bytes, created_at
        from models
        where id = $1 and project_id = $2 and deleted_at is null
        for update"#,
        id.0,
        project.0,
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(row) = row else { return Ok(Deletion::NotFound) };
    let held = sqlx::query!(
        r#"-- delete_model
        with alias as materialized (
            select name from model_names where model_id = $1 and kind = 'alias' order by name limit 1
        ), reader as materialized (
            select j.id
            from job_models u join jobs j on j.id = u.job_id
            where u.model_id = $1 and j.state in ('queued', 'running', 'paused')
            order by j.id
            limit 1
        ), deleted as (
            update models set deleted_at = clock_timestamp()
            where id = $1 and not exists (select from alias) and not exists (select from reader)
            returning id
        ), freed as (
            delete from model_names using deleted where model_id = deleted.id
        )
        select (select name from alias) as alias, (select id from reader) as reader"#,
        id.0,
    )
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Deletion::unless_held(held.alias, held.reader, Model::try_from(row)?))
}
