//! The rows of files that a job leaves, written in the transaction that writes its end. Their bytes are stored before.

use serde_json::{Value, json};
use sqlx::PgTransaction;
use uuid::Uuid;

use super::{StoreError, storable};
use crate::domain::{File, JobId};

/// Writes what [`as_json`] says of the files, as the job's. Returns their ids.
pub(super) async fn write(
    transaction: &mut PgTransaction<'static>,
    job: JobId,
    files: &Value,
) -> Result<Vec<Uuid>, StoreError> {
    let written = sqlx::query_scalar!(
        r#"-- write_result_files
        insert into files (id, project_id, filename, purpose, bytes, sha256, status, validation, artifact_key,
            made_by_job_id)
        select (file ->> 'id')::uuid, job.project_id, file ->> 'filename', file ->> 'purpose',
            (file ->> 'bytes')::bigint, file ->> 'sha256', file ->> 'status', file -> 'validation',
            file ->> 'artifact_key', job.id
        from jobs job, jsonb_array_elements($2::jsonb) as file
        where job.id = $1
        returning id"#,
        job.0,
        files,
    )
    .fetch_all(&mut **transaction)
    .await?;
    Ok(written)
}

/// The files as [`write()`] takes them.
pub(super) fn as_json(files: &[&File]) -> Value {
    let row = |file: &&File| {
        json!({
            "id": file.id.0,
            "filename": file.filename,
            "purpose": file.purpose.as_str(),
            "bytes": file.bytes,
            "sha256": file.sha256,
            "status": file.status.as_str(),
            "validation": file.validation,
            "artifact_key": file.artifact_key,
        })
    };
    storable::json(&files.iter().map(row).collect::<Vec<_>>())
}
