//! A job's checkpoints, the newest first.

use super::{Page, Store, StoreError, checkpoints::CheckpointRow, one_more};
use crate::domain::{Checkpoint, CheckpointId, JobId};

impl Store {
    /// Checkpoints of a job, the newest first: those that were published before this one, which may be gone itself.
    pub async fn newest_checkpoints(
        &self,
        job: JobId,
        before: Option<CheckpointId>,
        limit: u32,
    ) -> Result<Page<Checkpoint>, StoreError> {
        let rows = sqlx::query_as!(
            CheckpointRow,
            r#"-- newest_checkpoints
            select c.id, c.project_id, m.name as "model?", c.job_id, c.step, c.accuracy, c.metrics, c.lineage,
                c.artifact_prefix, c.manifest_sha256, c.bytes, c.created_at,
                c.accuracy is not null and not exists (
                    select from checkpoints o
                    where o.job_id = c.job_id and o.deleted_at is null and (o.accuracy, o.step) > (c.accuracy, c.step)
                ) as "best!"
            from checkpoints c left join models m on m.job_id = c.job_id and m.deleted_at is null
            where c.job_id = $1 and c.deleted_at is null and ($2::uuid is null or c.id < $2)
            order by c.id desc
            limit $3"#,
            job.0,
            before.map(|id| id.0),
            one_more(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let checkpoints = rows.into_iter().map(Checkpoint::try_from).collect::<Result<_, _>>()?;
        Ok(Page::cut(checkpoints, limit))
    }
}
