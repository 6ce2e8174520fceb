//! Hands in an annotation: how several workers share one job.
//!
//! ```text
//!              plan (the job's lease)         take (a hand)         settle (a hand)
//! the file ─────────────────────────▶ open ──────────────▶ held ──────────────────▶ settled
//!                                      ▲                    │
//!                                      └────────────────────┘ the hand ends, or is taken away
//! ```
//!
//! The worker that holds the job's lease leads: it judges the first rows, plans chunks as it streams the file, and ends the
//! job when all are settled. Whoever asks, the leader as well, has a *hand*: a lease of its own, which fences what it writes
//! into the ledger as the job's lease fences the rest. So the leader may die while the others go on, and another may lead.
//!
//! What fails, and what happens then:
//! - *A hand's worker dies.* Its hand is not renewed, and anybody takes it away: its chunks are open again, and its calls
//!   under way become unknown. Whoever takes the chunk finds verdicts and answers in the ledger and asks for the rest only.
//! - *The leader dies.* The job goes back to the queue when its lease runs out. Hands see that the job does not run, begin no
//!   further call, settle what is under way and end; with the next leader they come back.
//! - *The answer to a statement is lost.* Whoever asks for a chunk says which it knows it has: one that it has besides comes
//!   first. What was settled or has ended stays so.
//! - *Somebody pauses or cancels the job.* Every hand's next commit or beat says so, and the change wakes all workers. The
//!   leader waits until all hands have ended before it ends the job: no verdict comes after the end.

use std::time::Duration;

use sqlx::PgPool;

use super::{Request, Store, StoreError, interval, ledger::open::forget};
use crate::domain::{Hand, Job, JobId, Lease, ProjectId, WorkerId};

impl Store {
    /// A hand of the worker that leads the job.
    pub async fn take_hand(&self, lease: Lease, worker: WorkerId, hold_for: Duration) -> Result<Hand, StoreError> {
        let epoch = sqlx::query_scalar!(
            r#"-- take_hand
            with holder as materialized (
                select id, project_id from jobs where id = $1 and lease_epoch = $2 and state = 'running' for share
            )
            insert into annotation_hands (job_id, project_id, worker, expires_at)
            select id, project_id, $3, clock_timestamp() + $4::interval from holder
            returning epoch"#,
            lease.job_id.0,
            lease.epoch,
            worker.0,
            interval(hold_for),
        )
        .fetch_optional(&self.pool)
        .await?;
        let epoch = epoch.ok_or(StoreError::LeaseLost(lease))?;
        Ok(Hand { job_id: lease.job_id, epoch })
    }

    /// A hand in a job that another worker leads, that has an open chunk, and whose teacher is one of these.
    pub async fn join_annotation(
        &self,
        worker: WorkerId,
        teachers: &[String],
        avoided: &[JobId],
        hold_for: Duration,
    ) -> Result<Option<(Job, Hand)>, StoreError> {
        let avoided: Vec<_> = avoided.iter().map(|id| id.0).collect();
        let joined = sqlx::query!(
            r#"-- join_annotation
            with open as materialized (
                select j.id, j.project_id
                from jobs j join annotation_sums s on s.job_id = j.id
                where j.state = 'running' and j.kind = 'annotation' and j.lease_owner <> $1 and not s.closed
                    and j.cancel_requested_at is null and j.pause_requested_at is null
                    and j.spec ->> 'teacher' = any($2) and j.id <> all($3)
                    and exists (
                        select from annotation_chunks c where c.job_id = j.id and c.hand is null and c.settled_at is null
                    )
                    and not exists (select from annotation_hands h where h.job_id = j.id and h.worker = $1)
                order by j.sort_at, j.id
                limit 1
                for share of j skip locked
            )
            insert into annotation_hands (job_id, project_id, worker, expires_at)
            select id, project_id, $1, clock_timestamp() + $4::interval from open
            returning job_id, project_id, epoch"#,
            worker.0,
            teachers,
            &avoided,
            interval(hold_for),
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = joined else { return Ok(None) };
        let hand = Hand { job_id: JobId(row.job_id), epoch: row.epoch };
        let job = self.job(ProjectId(row.project_id), hand.job_id).await?;
        Ok(job.map(|job| (job, hand)))
    }

    /// Renews a hand, and says what is asked of whoever has it: a job that does not run wants nothing more. None where it was
    /// taken away.
    pub async fn beat_hand(&self, hand: Hand, hold_for: Duration) -> Result<Option<Option<Request>>, StoreError> {
        let row = sqlx::query!(
            r#"-- beat_hand
            update annotation_hands h
            set expires_at = clock_timestamp() + $3::interval
            from jobs j join annotation_sums s on s.job_id = j.id
            where h.job_id = $1 and h.epoch = $2 and j.id = h.job_id
            returning (j.cancel_requested_at is not null or j.state in ('succeeded', 'failed', 'cancelled'))
                    as "cancel_requested!",
                (j.pause_requested_at is not null or j.state <> 'running' or s.closed) as "pause_requested!""#,
            hand.job_id.0,
            hand.epoch,
            interval(hold_for),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| Request::of(row.cancel_requested, row.pause_requested)))
    }

    /// Ends a hand, unless it has ended: its chunks are open again, and its calls under way, for which nobody waits any more,
    /// are unknown.
    pub async fn end_hand(&self, hand: Hand) -> Result<(), StoreError> {
        tokio::spawn(end(self.pool.clone(), hand, false)).await.map_err(StoreError::Abandoned)?.map(drop)
    }

    /// Takes away at most `limit` hands that nobody renews: each with how many calls it had under way, which are unknown
    /// now.
    pub async fn reap_hands(&self, limit: u32) -> Result<Vec<(Hand, i64)>, StoreError> {
        let expired = sqlx::query!(
            r#"-- reap_hands
            select job_id, epoch from annotation_hands where expires_at < clock_timestamp() order by job_id, epoch limit $1"#,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let mut reaped = Vec::new();
        for row in expired {
            let hand = Hand { job_id: JobId(row.job_id), epoch: row.epoch };
            let ended = tokio::spawn(end(self.pool.clone(), hand, true)).await.map_err(StoreError::Abandoned)??;
            reaped.extend(ended.map(|calls| (hand, calls)));
        }
        Ok(reaped)
    }

    /// Whether anybody has a hand in a job.
    pub async fn has_hands(&self, id: JobId) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"-- has_hands
            select exists (select from annotation_hands where job_id = $1) as "has_hands!""#,
            id.0,
        )
        .fetch_one(&self.pool)
        .await?)
    }
}

/// How many calls a hand had under way; none where there is no such hand. Two statements: the hand's row is locked before the sums, as a commit does it.
async fn end(pool: PgPool, hand: Hand, only_expired: bool) -> Result<Option<i64>, StoreError> {
    let mut transaction = pool.begin().await?;
    let ended = sqlx::query!(
        r#"-- end_hand
        with ended as (
            delete from annotation_hands
            where job_id = $1 and epoch = $2 and (not $3 or expires_at < clock_timestamp())
            returning job_id, project_id, epoch
        ), event as (
            insert into job_events (job_id, project_id, level, code, message, data)
            select job_id, project_id, 'warn', 'hand_lost',
                'a worker that had a hand in it stopped answering: others take up its part',
                jsonb_build_object('hand', epoch)
            from ended
            where $3
        )
        select epoch from ended"#,
        hand.job_id.0,
        hand.epoch,
        only_expired,
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(_) = ended else { return Ok(None) };
    let (calls, reserved) = forget(&mut transaction, hand.job_id.0, hand.epoch).await?;
    if only_expired && calls > 0 {
        sqlx::query!(
            r#"-- end_hand: calls
            insert into job_events (job_id, project_id, level, code, message, data)
            select id, project_id, 'warn', 'calls_unknown',
                $2::bigint || ' calls were under way when their worker was lost: whether they were done and paid for is not known; they are asked again under the same Idempotency-Key',
                jsonb_build_object('calls', $2::bigint, 'input_tokens', $3::bigint, 'output_tokens', $4::bigint)
            from jobs where id = $1"#,
            hand.job_id.0,
            calls,
            reserved.input,
            reserved.output,
        )
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(Some(calls))
}
