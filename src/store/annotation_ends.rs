//! The results of annotations that failed or were cancelled. They come after the end, because the end must not wait for
//! files and may have come without an attempt: in the queue, in a pause, by the reaper. A claim keeps workers from writing
//! the same files side by side; should it run out, the first one whose row comes has written them. A retry in between
//! takes the end away, and no later one has the same instant.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgPool;

use super::{Store, StoreError, interval, result_files, storable};
use crate::domain::{File, Job, JobId, ProjectId};

impl Store {
    /// Claims an annotation whose result is still to be written, the one that ended first.
    pub async fn claim_annotation_end(&self, hold_for: Duration) -> Result<Option<Job>, StoreError> {
        let claimed = sqlx::query!(
            r#"-- claim_annotation_end
            with next as materialized (
                select id
                from jobs
                where kind = 'annotation' and state in ('failed', 'cancelled') and result is null
                    and (end_claimed_until is null or end_claimed_until < clock_timestamp())
                    and not exists (select from annotation_hands h where h.job_id = jobs.id)
                order by finished_at, id
                limit 1
                for update skip locked
            )
            update jobs j
            set end_claimed_until = clock_timestamp() + $1::interval
            from next
            where j.id = next.id
            returning j.id, j.project_id"#,
            interval(hold_for),
        )
        .fetch_optional(&self.pool)
        .await?;
        match claimed {
            None => Ok(None),
            Some(row) => self.job(ProjectId(row.project_id), JobId(row.id)).await,
        }
    }

    /// Writes the result of an annotation as it was claimed, with the files that it names; false where somebody else has,
    /// or where the job was tried again.
    pub async fn write_annotation_end(&self, job: &Job, result: &Value, files: &[&File]) -> Result<bool, StoreError> {
        let (ended, result, files) = ((job.id, job.finished_at), result.clone(), result_files::as_json(files));
        // A task of its own, so that a caller who goes away leaves no connection inside a transaction.
        let written = tokio::spawn(write_annotation_end(self.pool.clone(), ended, result, files)).await;
        written.map_err(StoreError::Abandoned)?
    }
}

async fn write_annotation_end(
    pool: PgPool,
    (job, finished_at): (JobId, Option<DateTime<Utc>>),
    result: Value,
    files: Value,
) -> Result<bool, StoreError> {
    let mut transaction = pool.begin().await?;
    let written = sqlx::query_scalar!(
        r#"-- write_annotation_end
        with ended as (
            update jobs
            set result = $3, end_claimed_until = null
            where id = $1 and finished_at = $2 and state in ('failed', 'cancelled') and result is null
            returning id, project_id
        ), event as (
            insert into job_events (job_id, project_id, level, code, message, data)
            select id, project_id, 'info', 'result_written', 'what it had found by its end is there', $4
            from ended
        )
        select id as "id!" from ended"#,
        job.0,
        finished_at,
        storable::json(&result),
        serde_json::json!({"output_file": result["output_file"], "rejections_file": result["rejections_file"]}),
    )
    .fetch_optional(&mut *transaction)
    .await?;
    if written.is_none() {
        return Ok(false);
    }
    result_files::write(&mut transaction, job, &files).await?;
    transaction.commit().await?;
    Ok(true)
}
