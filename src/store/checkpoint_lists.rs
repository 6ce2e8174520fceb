//! A job's checkpoints, page by page.

use super::{Page, Store, StoreError, checkpoints::CheckpointRow, one_more};
use crate::domain::{Checkpoint, CheckpointId, JobId};

/// In which order a job's checkpoints are listed, and after which place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointOrder {
    /// By step, those after this one.
    ByStep(Option<i64>),
    /// The newest first, those that were published before this one, which may be gone itself.
    NewestFirst(Option<CheckpointId>),
}

impl Store {
    /// Checkpoints of a job that are still there.
    pub async fn list_checkpoints(
        &self,
        job: JobId,
        order: CheckpointOrder,
        limit: u32,
    ) -> Result<Page<Checkpoint>, StoreError> {
        let (after, before, newest_first) = match order {
            CheckpointOrder::ByStep(after) => (after, None, false),
            CheckpointOrder::NewestFirst(before) => (None, before, true),
        };
        let rows = sqlx::query_as!(
            CheckpointRow,
            r#"-- list_checkpoints
            select c.id, c.project_id, m.name as "model?", c.job_id, c.step, c.accuracy, c.metrics, c.lineage,
                c.artifact_prefix, c.manifest_sha256, c.bytes, c.created_at,
                c.accuracy is not null and not exists (
                    select from checkpoints o
                    where o.job_id = c.job_id and o.deleted_at is null and (o.accuracy, o.step) > (c.accuracy, c.step)
                ) as "best!"
            from checkpoints c left join models m on m.job_id = c.job_id and m.deleted_at is null
            where c.job_id = $1 and c.deleted_at is null
                and ($2::bigint is null or c.step > $2)
                and ($3::uuid is null or c.id < $3)
            order by case when not $4 then c.step end, case when $4 then c.id end desc
            limit $5"#,
            job.0,
            after,
            before.map(|id| id.0),
            newest_first,
            one_more(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let checkpoints = rows.into_iter().map(Checkpoint::try_from).collect::<Result<_, _>>()?;
        Ok(Page::cut(checkpoints, limit))
    }
}
