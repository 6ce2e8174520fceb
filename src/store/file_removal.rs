//! Taking files away: the row first, then the bytes, then a note that the bytes are gone. A crash in between leaves bytes
//! that [`Store::unpurged_files`] still lists, so that any worker can sweep them later.

use sqlx::PgPool;
use uuid::Uuid;

use super::{Store, StoreError, storable};
use crate::domain::{File, FileId, JobId, ProjectId};

/// What became of a request to delete a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeletedFile {
    /// It is gone; its bytes are the caller's to remove.
    Deleted(RemovedFile),
    /// There is no such file.
    NotFound,
    /// This job, which is not terminal, reads it.
    InUse(JobId),
}

/// A file that was taken away while its bytes may still be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedFile {
    /// Its id.
    pub id: FileId,
    /// Where its bytes lie in the artifact store.
    pub artifact_key: String,
}

impl Store {
    /// Deletes a file that no unfinished job reads.
    pub async fn delete_file(&self, project: ProjectId, id: FileId) -> Result<DeletedFile, StoreError> {
        // A task of its own, so that a caller who goes away leaves no connection inside a transaction.
        tokio::spawn(delete_file(self.pool.clone(), project, id)).await.map_err(StoreError::Abandoned)?
    }

    /// Takes a file away whose registration was not answered: it may have been registered, it may yet be while the
    /// server works on, or it never will be. A deleted row of its id decides it: where that can be written, the
    /// registration finds the id taken; whether it could be.
    pub async fn withdraw_file(&self, file: &File) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            r#"-- withdraw_file
            insert into files (id, project_id, filename, purpose, bytes, sha256, status, validation, artifact_key, deleted_at)
            values ($1, $2, $3, $4, $5, $6, $7, '{}', $8, clock_timestamp())
            on conflict (id) do nothing"#,
            file.id.0,
            file.project_id.0,
            storable::text(&file.filename),
            file.purpose.as_str(),
            file.bytes,
            file.sha256,
            file.status.as_str(),
            file.artifact_key,
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Deletes at most `limit` files whose time is over; [`unpurged_files`](Self::unpurged_files) lists them from then
    /// on. A minute late: a job that is being submitted at the last moment is there by then and keeps its files.
    pub async fn expire_files(&self, limit: u32) -> Result<Vec<FileId>, StoreError> {
        let ids = sqlx::query_scalar!(
            r#"-- expire_files
            with expired as materialized (
                select id
                from files
                where deleted_at is null and expires_at < clock_timestamp() - interval '1 minute'
                    and file_has_expired(id, expires_at)
                order by expires_at
                limit $1
                for update skip locked
            )
            update files set deleted_at = clock_timestamp()
            from expired
            where files.id = expired.id
            returning files.id"#,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(ids.into_iter().map(FileId).collect())
    }

    /// Files that were taken away, while nobody has noted that their bytes are gone: by id, those after this one.
    pub async fn unpurged_files(&self, after: Option<FileId>, limit: u32) -> Result<Vec<RemovedFile>, StoreError> {
        let rows = sqlx::query!(
            r#"-- unpurged_files
            select id, artifact_key
            from files
            where deleted_at is not null and purged_at is null and ($1::uuid is null or id > $1)
            order by id
            limit $2"#,
            after.map(|id| id.0),
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| RemovedFile { id: FileId(row.id), artifact_key: row.artifact_key }).collect())
    }

    /// Notes that a deleted file's bytes are gone. Idempotent.
    pub async fn file_purged(&self, id: FileId) -> Result<(), StoreError> {
        sqlx::query!(
            r#"-- file_purged
            update files set purged_at = clock_timestamp()
            where id = $1 and deleted_at is not null and purged_at is null"#,
            id.0,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// Two statements, because only a statement that begins after the lock is held sees a job that was submitted while we
/// waited for it.
async fn delete_file(pool: PgPool, project: ProjectId, id: FileId) -> Result<DeletedFile, StoreError> {
    let mut transaction = pool.begin().await?;
    let artifact_key = sqlx::query_scalar!(
        r#"-- delete_file: lock
        select artifact_key
        from files
        where id = $1 and project_id = $2 and deleted_at is null and not file_has_expired(id, expires_at)
        for update"#,
        id.0,
        project.0,
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(artifact_key) = artifact_key else { return Ok(DeletedFile::NotFound) };
    let reader: Option<Uuid> = sqlx::query_scalar!(
        r#"-- delete_file
        with reader as (
            select j.id
            from job_files f join jobs j on j.id = f.job_id
            where f.file_id = $1 and j.state in ('queued', 'running', 'paused')
            order by j.id
            limit 1
        ), deleted as (
            update files set deleted_at = clock_timestamp() where id = $1 and not exists (select from reader)
        )
        select id from reader"#,
        id.0,
    )
    .fetch_optional(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(match reader {
        Some(job) => DeletedFile::InUse(JobId(job)),
        None => DeletedFile::Deleted(RemovedFile { id, artifact_key }),
    })
}
