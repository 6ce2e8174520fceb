//! The results of annotations that failed or were cancelled. They come after the end, because the end must not wait for
//! files and may have come without an attempt: in the queue, in a pause, by the reaper. A claim keeps workers from writing
//! the same files side by side; should it run out, the first one whose row comes has written them. A retry in between
//! takes the end away, and no later one has the same instant.

use std::time::Duration;

use serde_json::Value;

use super::{Store, StoreError, files::as_json, interval, storable};
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
        let files: Vec<Value> = files.iter().map(|file| as_json(file)).collect();
        let written = sqlx::query_scalar!(
            r#"-- write_annotation_end
            with ended as (
                update jobs
                set result = $3, end_claimed_until = null
                where id = $1 and finished_at = $2 and state in ('failed', 'cancelled') and result is null
                returning id, project_id
            ), written as (
                insert into files (id, project_id, filename, purpose, bytes, sha256, status, validation, artifact_key,
                    made_by_job_id)
                select (file ->> 'id')::uuid, ended.project_id, file ->> 'filename', file ->> 'purpose',
                    (file ->> 'bytes')::bigint, file ->> 'sha256', file ->> 'status', file -> 'validation',
                    file ->> 'artifact_key', ended.id
                from ended, jsonb_array_elements($4::jsonb) as file
            ), event as (
                insert into job_events (job_id, project_id, level, code, message, data)
                select id, project_id, 'info', 'result_written', 'what it had found by its end is there', $5
                from ended
            )
            select id as "id!" from ended"#,
            job.id.0,
            job.finished_at,
            storable::json(result),
            storable::json(&files),
            serde_json::json!({"output_file": result["output_file"], "rejections_file": result["rejections_file"]}),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(written.is_some())
    }
}
