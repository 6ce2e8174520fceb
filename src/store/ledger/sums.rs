//! A job's row of sums: read by who watches the job, written by who holds it.

use sqlx::PgTransaction;
use uuid::Uuid;

use crate::{
    domain::{AnnotationSums, JobId, Tokens},
    store::{Store, StoreError},
};

/// A row of `annotation_sums` beside what matters of its job.
pub(super) struct SumsRow {
    pub project_id: Uuid,
    pub cancel_requested: bool,
    pub pause_requested: bool,
    pub valid: i64,
    pub invalid: i64,
    pub refused: i64,
    pub truncated: i64,
    pub failed: i64,
    pub answered_calls: i64,
    pub failed_calls: i64,
    pub unknown_calls: i64,
    pub reused_calls: i64,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub unknown_input_tokens: i64,
    pub unknown_output_tokens: i64,
    pub reserved_input_tokens: i64,
    pub reserved_output_tokens: i64,
}

impl SumsRow {
    pub(super) fn sums(&self) -> AnnotationSums {
        AnnotationSums {
            verdicts: [self.valid, self.invalid, self.refused, self.truncated, self.failed],
            answered_calls: self.answered_calls,
            failed_calls: self.failed_calls,
            unknown_calls: self.unknown_calls,
            reused_calls: self.reused_calls,
            answered: Tokens { input: self.input_tokens, output: self.output_tokens },
            unknown: Tokens { input: self.unknown_input_tokens, output: self.unknown_output_tokens },
            reserved: Tokens { input: self.reserved_input_tokens, output: self.reserved_output_tokens },
        }
    }
}

impl Store {
    /// What a job's verdicts and calls add up to; nothing before its first attempt.
    pub async fn annotation_sums(&self, id: JobId) -> Result<AnnotationSums, StoreError> {
        let row = sqlx::query_as!(
            SumsRow,
            r#"-- annotation_sums
            select j.project_id, j.cancel_requested_at is not null as "cancel_requested!",
                j.pause_requested_at is not null as "pause_requested!", s.valid, s.invalid, s.refused, s.truncated,
                s.failed, s.answered_calls, s.failed_calls, s.unknown_calls, s.reused_calls, s.input_tokens,
                s.output_tokens, s.unknown_input_tokens, s.unknown_output_tokens, s.reserved_input_tokens,
                s.reserved_output_tokens
            from jobs j join annotation_sums s on s.job_id = j.id
            where j.id = $1"#,
            id.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| row.sums()).unwrap_or_default())
    }
}

/// Writes the sums of a held job as they stand now.
pub(super) async fn write(
    transaction: &mut PgTransaction<'static>,
    job: Uuid,
    sums: &AnnotationSums,
) -> Result<(), StoreError> {
    let AnnotationSums { verdicts: [valid, invalid, refused, truncated, failed], .. } = *sums;
    let AnnotationSums { answered_calls, failed_calls, unknown_calls, reused_calls, .. } = *sums;
    let AnnotationSums { answered, unknown, reserved, .. } = *sums;
    sqlx::query!(
        r#"-- ledger: sums
        update annotation_sums
        set valid = $2, invalid = $3, refused = $4, truncated = $5, failed = $6, answered_calls = $7, failed_calls = $8,
            unknown_calls = $9, reused_calls = $10, input_tokens = $11, output_tokens = $12, unknown_input_tokens = $13,
            unknown_output_tokens = $14, reserved_input_tokens = $15, reserved_output_tokens = $16
        where job_id = $1"#,
        job,
        valid,
        invalid,
        refused,
        truncated,
        failed,
        answered_calls,
        failed_calls,
        unknown_calls,
        reused_calls,
        answered.input,
        answered.output,
        unknown.input,
        unknown.output,
        reserved.input,
        reserved.output,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
