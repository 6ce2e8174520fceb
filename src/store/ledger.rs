//! The ledger: calls to teachers, and the verdicts that are drawn from their answers.
//!
//! ```text
//!             begin                  settle
//! (a budget) ───────▶ sent ────────────────────▶ answered | failed | unknown
//!                      │  its hand ends or is taken away
//!                      └───────────────────────▶ unknown
//! (an equal answer) ─────────────────────────────▶ reused
//! ```
//!
//! Many calls are under way at once, and a transaction for each would cost more than the call. So whoever writes gathers
//! what waits and commits it as one [`LedgerBatch`]: outcomes, verdicts, answers to reuse, and calls to begin, in this
//! order, so that what was reserved for a settled call is there for the next. The transaction locks the job's row of sums,
//! in which the budget is held; so of several workers on one job no two spend the same dollar.
//!
//! What fails, and what happens then:
//! - *The worker dies between the begin and the settlement.* The call stays `sent` until its hand is taken away (`store::hands`),
//!   which makes it `unknown`: it counts as spent at what was reserved, and is asked again under the same `Idempotency-Key`.
//! - *A commit's answer is lost on the way.* The batch is committed again, as `repeated`: what was settled, decided and
//!   reused stays as it is; what was begun is taken back and begun anew, because nobody was told that it had been.
//! - *The hand is lost.* Nothing of the batch is written.

mod begin;
pub(super) mod open;
mod past;
mod reuse;
mod settle;
mod smoke;
mod sums;
mod verdicts;

use std::{collections::HashMap, sync::Arc};

use sqlx::{PgPool, PgTransaction};
use uuid::Uuid;

use sums::SumsRow;

use super::{Request, Store, StoreError};
use crate::domain::{Allowance, Annotation, AnnotationSums, CallKey, CallOutcome, Hand, NewCall, Reply};

pub use past::PastCalls;
pub use smoke::{FailingRow, SmokeReport};

/// What is committed at once.
#[derive(Debug, Default)]
pub struct LedgerBatch {
    /// Calls of which it is known what became of them.
    pub settled: Vec<(CallKey, CallOutcome)>,
    /// What becomes of examples.
    pub verdicts: Vec<Annotation>,
    /// Calls that are not made where an equal one was answered before.
    pub wanted: Vec<NewCall>,
    /// Calls that are about to be sent; each needs room in the allowance.
    pub begins: Vec<NewCall>,
    /// What the job may spend.
    pub allowance: Allowance,
}

/// What came of a batch.
#[derive(Debug)]
pub struct LedgerCommit {
    /// The job's sums with the batch.
    pub sums: AnnotationSums,
    /// What somebody asked of the job: then no call was begun.
    pub requested: Option<Request>,
    /// Those of the wanted answers that there are.
    pub found: HashMap<CallKey, Reply>,
    /// How many calls were begun, the first ones of the batch: the next one had no room.
    pub begun: usize,
}

/// The job and its sums, locked.
struct Held {
    job: Uuid,
    project: Uuid,
    epoch: i64,
    sums: AnnotationSums,
    requested: Option<Request>,
}

impl Store {
    /// Commits a batch in one transaction. `repeated` says that it may have been committed before.
    pub async fn commit_ledger(
        &self,
        hand: Hand,
        batch: Arc<LedgerBatch>,
        repeated: bool,
    ) -> Result<LedgerCommit, StoreError> {
        // A task of its own, so that a caller who goes away leaves no connection inside a transaction.
        let committed = tokio::spawn(commit(self.pool.clone(), hand, batch, repeated)).await;
        committed.map_err(StoreError::Abandoned)?
    }
}

async fn commit(pool: PgPool, hand: Hand, batch: Arc<LedgerBatch>, repeated: bool) -> Result<LedgerCommit, StoreError> {
    let mut transaction = pool.begin().await?;
    let mut held = lock(&mut transaction, hand).await?;
    if repeated {
        begin::take_back(&mut transaction, &mut held, &batch.begins).await?;
    }
    settle::settle(&mut transaction, &mut held, &batch.settled).await?;
    verdicts::write(&mut transaction, &mut held, &batch.verdicts).await?;
    let found = reuse::reuse(&mut transaction, &mut held, &batch.wanted).await?;
    let begun = match held.requested {
        None => begin::begin(&mut transaction, &mut held, &batch.begins, &batch.allowance).await?,
        Some(_) => 0,
    };
    sums::write(&mut transaction, held.job, &held.sums).await?;
    transaction.commit().await?;
    Ok(LedgerCommit { sums: held.sums, requested: held.requested, found, begun })
}

/// Holds the hand and the job's row against a change, and the job's sums against other writers. What was paid for is written
/// while the job waits for another leader too, and when it has failed or was cancelled without one: its files wait for all hands.
async fn lock(transaction: &mut PgTransaction<'static>, hand: Hand) -> Result<Held, StoreError> {
    // The batch's statements are planned anew each time: a plan from when the table was small would read all of it when it
    // is large.
    let row = sqlx::query_as!(
        SumsRow,
        r#"-- ledger: lock
        select j.project_id, j.cancel_requested_at is not null as "cancel_requested!",
            (j.pause_requested_at is not null or j.state <> 'running' or s.closed) as "pause_requested!", s.valid,
            s.invalid, s.refused, s.truncated, s.failed, s.answered_calls, s.failed_calls, s.unknown_calls, s.reused_calls,
            s.input_tokens, s.output_tokens, s.unknown_input_tokens, s.unknown_output_tokens, s.reserved_input_tokens,
            s.reserved_output_tokens
        from annotation_hands h join jobs j on j.id = h.job_id join annotation_sums s on s.job_id = j.id,
            set_config('plan_cache_mode', 'force_custom_plan', true) as planned_anew
        where h.job_id = $1 and h.epoch = $2 and j.state <> 'succeeded'
        for share of h, j for update of s"#,
        hand.job_id.0,
        hand.epoch,
    )
    .fetch_optional(&mut **transaction)
    .await?
    .ok_or(StoreError::HandLost(hand))?;
    let requested = Request::of(row.cancel_requested, row.pause_requested);
    Ok(Held { job: hand.job_id.0, project: row.project_id, epoch: hand.epoch, sums: row.sums(), requested })
}
