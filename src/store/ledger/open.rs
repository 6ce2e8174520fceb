//! The first and the last word about a job's ledger, by the worker that leads the job.

use sqlx::{PgPool, PgTransaction};
use uuid::Uuid;

use super::{settle, sums::SumsRow};
use crate::{
    domain::{AnnotationSums, Lease, Tokens},
    store::{Store, StoreError},
};

impl Store {
    /// Opens the ledger of a job for an attempt and its hands: makes its row of sums, and settles as unknown what is under
    /// way for nobody, as workers from before there were hands left it.
    pub async fn open_ledger(&self, lease: Lease) -> Result<(), StoreError> {
        self.set_closed(lease, false).await?;
        tokio::spawn(forget_orphans(self.pool.clone(), lease)).await.map_err(StoreError::Abandoned)?
    }

    /// Closes the ledger before the leader lets go of the job: no call begins any more, and all hands end.
    pub async fn close_ledger(&self, lease: Lease) -> Result<(), StoreError> {
        self.set_closed(lease, true).await
    }

    async fn set_closed(&self, lease: Lease, closed: bool) -> Result<(), StoreError> {
        let done = sqlx::query!(
            r#"-- set_closed
            insert into annotation_sums as s (job_id, project_id, closed)
            select id, project_id, $3 from jobs where id = $1 and lease_epoch = $2 and state = 'running'
            on conflict (job_id) do update set closed = $3"#,
            lease.job_id.0,
            lease.epoch,
            closed,
        )
        .execute(&self.pool)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::LeaseLost(lease)) }
    }
}

async fn forget_orphans(pool: PgPool, lease: Lease) -> Result<(), StoreError> {
    let mut transaction = pool.begin().await?;
    let hands = sqlx::query_scalar!(
        r#"-- forget_orphans
        select distinct c.hand
        from teacher_calls c
        where c.job_id = $1 and c.state = 'sent'
            and not exists (select from annotation_hands h where h.job_id = $1 and h.epoch = c.hand)"#,
        lease.job_id.0,
    )
    .fetch_all(&mut *transaction)
    .await?;
    for hand in hands {
        forget(&mut transaction, lease.job_id.0, hand).await?;
    }
    Ok(transaction.commit().await?)
}

/// Settles as unknown what a hand has left under way, because nobody waits for it any more: how many calls these are, and
/// what had been reserved for them.
pub(in crate::store) async fn forget(
    transaction: &mut PgTransaction<'static>,
    job: Uuid,
    epoch: i64,
) -> Result<(i64, Tokens), StoreError> {
    let Some(mut sums) = lock_sums(transaction, job).await? else { return Ok((0, Tokens::default())) };
    let rows = sqlx::query!(
        r#"-- ledger: forget
        update teacher_calls
        set state = 'unknown', error = 'the worker stopped waiting for the answer', settled_at = clock_timestamp()
        where job_id = $1 and hand = $2 and state = 'sent'
        returning reserved_input_tokens, reserved_output_tokens"#,
        job,
        epoch,
    )
    .fetch_all(&mut **transaction)
    .await?;
    let (mut calls, mut tokens) = (0, Tokens::default());
    for row in rows {
        let reserved = Tokens { input: row.reserved_input_tokens, output: row.reserved_output_tokens };
        settle::count(&mut sums, "unknown", reserved, Tokens::default());
        (calls, tokens) = (calls + 1, tokens.plus(reserved));
    }
    if calls > 0 {
        super::sums::write(transaction, job, &sums).await?;
    }
    Ok((calls, tokens))
}

async fn lock_sums(transaction: &mut PgTransaction<'static>, job: Uuid) -> Result<Option<AnnotationSums>, StoreError> {
    let row = sqlx::query_as!(
        SumsRow,
        r#"-- ledger: lock_sums
        select project_id, false as "cancel_requested!", false as "pause_requested!", valid, invalid, refused, truncated,
            failed, answered_calls, failed_calls, unknown_calls, reused_calls, input_tokens, output_tokens,
            unknown_input_tokens, unknown_output_tokens, reserved_input_tokens, reserved_output_tokens
        from annotation_sums
        where job_id = $1
        for update"#,
        job,
    )
    .fetch_optional(&mut **transaction)
    .await?;
    Ok(row.map(|row| row.sums()))
}
