//! Uploaded and produced files; their bytes lie in the artifact store, written before the row. They leave by
//! `file_removal`.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

use super::{Page, Store, StoreError, one_more, rows::Place, storable};
use crate::domain::{File, FileId, FileStatus, JobId, ProjectId, Purpose};

/// Which files a list has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FileFilter {
    /// Only for this purpose.
    pub purpose: Option<Purpose>,
    /// Only those past this one, in the list's direction.
    pub after: Option<FileId>,
    /// At most so many.
    pub limit: u32,
    /// Oldest first instead of newest first.
    pub ascending: bool,
}

impl Store {
    /// Registers a stored file. Its `created_at` becomes the database's, and `expires_at` moves with it. With the hold on
    /// an idempotency key, the key learns of it in the same statement.
    ///
    /// # Errors
    /// [`StoreError::KeyLost`] when another request has taken the key over. [`StoreError::Unanswered`] alone leaves it open
    /// whether the file is registered, or will yet be: [`withdraw_file`](Self::withdraw_file) settles it.
    pub async fn insert_file(&self, file: &File, holder: Option<Uuid>) -> Result<File, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let row = sqlx::query_as!(
            FileRow,
            r#"-- insert_file
            with keyed as (
                update idempotency_keys set made_id = $1
                where holder = $11 and status is null and made_id is null
                returning holder
            )
            insert into files (id, project_id, filename, purpose, bytes, sha256, status, validation, artifact_key,
                created_at, expires_at)
            select $1, $2, $3, $4, $5, $6, $7, $8, $9, now, now + $10::interval
            from clock_timestamp() as now
            where $11::uuid is null or exists (select from keyed)
            returning id, project_id, filename, purpose, bytes, sha256, status, validation, artifact_key, created_at,
                expires_at"#,
            file.id.0,
            file.project_id.0,
            storable::text(&file.filename),
            file.purpose.as_str(),
            file.bytes,
            file.sha256,
            file.status.as_str(),
            storable::json(&file.validation),
            file.artifact_key,
            file.expires_at.map(|at| interval(at - file.created_at)),
            holder,
        )
        .fetch_optional(&mut *connection)
        .await
        .map_err(unanswered)?;
        row.map(File::try_from).unwrap_or(Err(StoreError::KeyLost))
    }

    /// One file of a project.
    pub async fn file(&self, project: ProjectId, id: FileId) -> Result<Option<File>, StoreError> {
        let row = sqlx::query_as!(
            FileRow,
            r#"-- file
            select id, project_id, filename, purpose, bytes, sha256, status, validation, artifact_key, created_at,
                expires_at
            from files
            where id = $1 and project_id = $2 and deleted_at is null and not file_has_expired(id, expires_at)"#,
            id.0,
            project.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(File::try_from).transpose()
    }

    /// The annotation job that wrote a file, and its teacher; none for an upload.
    pub async fn annotation_of(&self, id: FileId) -> Result<Option<(JobId, String)>, StoreError> {
        let row = sqlx::query!(
            r#"-- annotation_of
            select j.id, j.spec ->> 'teacher' as "teacher!"
            from files f join jobs j on j.id = f.made_by_job_id
            where f.id = $1 and j.kind = 'annotation'"#,
            id.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| (JobId(row.id), row.teacher)))
    }

    /// Files of a project, light enough for long lists: of the errors in their lines the first, and no statistics.
    pub async fn list_files(&self, project: ProjectId, filter: &FileFilter) -> Result<Page<File>, StoreError> {
        let rows = sqlx::query_as!(
            FileRow,
            r#"-- list_files
            select id, project_id, filename, purpose, bytes, sha256, status, artifact_key, created_at, expires_at,
                (validation - 'statistics') || jsonb_build_object(
                    'errors', jsonb_path_query_array(validation, '$.errors[0]'),
                    'errors_truncated', (validation ->> 'errors_truncated')::boolean
                        or jsonb_array_length(validation -> 'errors') > 1
                ) as "validation!"
            from files
            where project_id = $1 and deleted_at is null and not file_has_expired(id, expires_at)
                and ($2::text is null or purpose = $2)
                and ($3::uuid is null or case when $4 then id > $3 else id < $3 end)
            order by case when $4 then id end, case when not $4 then id end desc
            limit $5"#,
            project.0,
            filter.purpose.map(Purpose::as_str),
            filter.after.map(|id| id.0),
            filter.ascending,
            one_more(filter.limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let files = rows.into_iter().map(File::try_from).collect::<Result<_, _>>()?;
        Ok(Page::cut(files, filter.limit))
    }
}

/// Trouble with a connection that had taken the statement.
fn unanswered(error: sqlx::Error) -> StoreError {
    match StoreError::from(error) {
        StoreError::Unavailable(error) => StoreError::Unanswered(error),
        error => error,
    }
}

fn interval(duration: TimeDelta) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: duration.num_microseconds().unwrap_or(i64::MAX) }
}

struct FileRow {
    id: Uuid,
    project_id: Uuid,
    filename: String,
    purpose: String,
    bytes: i64,
    sha256: String,
    status: String,
    validation: Value,
    artifact_key: String,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
}

impl TryFrom<FileRow> for File {
    type Error = StoreError;

    fn try_from(row: FileRow) -> Result<Self, StoreError> {
        let at = Place { table: "files", id: &FileId(row.id) };
        Ok(Self {
            id: FileId(row.id),
            project_id: ProjectId(row.project_id),
            filename: row.filename,
            purpose: at.name("purpose", &row.purpose)?,
            bytes: row.bytes,
            sha256: row.sha256,
            status: at.json::<FileStatus>("status", Value::String(row.status))?,
            validation: at.json("validation", row.validation)?,
            artifact_key: row.artifact_key,
            created_at: row.created_at,
            expires_at: row.expires_at,
        })
    }
}
