//! The first and the last word of an attempt in the ledger: calls that nobody waits for any more are `unknown`.

use sqlx::{PgPool, PgTransaction};

use super::{Held, lock, settle, sums};
use crate::{
    domain::{AnnotationSums, Lease, Tokens},
    store::{Store, StoreError},
};

impl Store {
    /// Opens the ledger of a job for an attempt: makes its row of sums, and settles as unknown what an earlier attempt had
    /// left under way. Returns the sums, and how many calls these were with what had been reserved for them.
    pub async fn open_ledger(&self, lease: Lease) -> Result<(AnnotationSums, i64, Tokens), StoreError> {
        sqlx::query!(
            r#"-- open_ledger
            insert into annotation_sums (job_id, project_id)
            select id, project_id from jobs where id = $1 and lease_epoch = $2 and state = 'running'
            on conflict do nothing"#,
            lease.job_id.0,
            lease.epoch,
        )
        .execute(&self.pool)
        .await?;
        self.abandon_calls(lease).await
    }

    /// Settles as unknown what is still under way, because nobody waits for it any more.
    pub async fn abandon_calls(&self, lease: Lease) -> Result<(AnnotationSums, i64, Tokens), StoreError> {
        let abandoned = tokio::spawn(abandon(self.pool.clone(), lease)).await;
        abandoned.map_err(StoreError::Abandoned)?
    }
}

async fn abandon(pool: PgPool, lease: Lease) -> Result<(AnnotationSums, i64, Tokens), StoreError> {
    let mut transaction = pool.begin().await?;
    let mut held = lock(&mut transaction, lease).await?;
    let (calls, tokens) = forget(&mut transaction, &mut held).await?;
    sums::write(&mut transaction, &held).await?;
    transaction.commit().await?;
    Ok((held.sums, calls, tokens))
}

async fn forget(transaction: &mut PgTransaction<'static>, held: &mut Held) -> Result<(i64, Tokens), StoreError> {
    let rows = sqlx::query!(
        r#"-- ledger: forget
        update teacher_calls
        set state = 'unknown', error = 'the worker stopped waiting for the answer', settled_at = clock_timestamp()
        where job_id = $1 and state = 'sent'
        returning reserved_input_tokens, reserved_output_tokens"#,
        held.job,
    )
    .fetch_all(&mut **transaction)
    .await?;
    let (mut calls, mut tokens) = (0, Tokens::default());
    for row in rows {
        let reserved = Tokens { input: row.reserved_input_tokens, output: row.reserved_output_tokens };
        settle::count(&mut held.sums, "unknown", reserved, Tokens::default());
        (calls, tokens) = (calls + 1, tokens.plus(reserved));
    }
    Ok((calls, tokens))
}
