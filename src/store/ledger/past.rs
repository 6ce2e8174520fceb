//! What the ledger has of examples that are to be asked about: a part of the file at a time, so that no job's whole ledger
//! is ever in memory.

use std::collections::HashSet;

use crate::{
    domain::{CallKey, JobId, PastCall, Reply},
    store::{Store, StoreError, rows::Place},
};

/// What is known of a part of a job's file.
#[derive(Debug, Default)]
pub struct PastCalls {
    /// The examples that have a verdict.
    pub settled: HashSet<i64>,
    /// Calls for those that have none, in the order of their keys.
    pub calls: Vec<PastCall>,
}

impl Store {
    /// What the ledger has of the examples at the places `first` to `last`.
    pub async fn past_calls(&self, id: JobId, first: i64, last: i64) -> Result<PastCalls, StoreError> {
        let settled = sqlx::query_scalar!(
            r#"-- past_calls: settled
            select example_index from annotations where job_id = $1 and example_index between $2 and $3"#,
            id.0,
            first,
            last,
        )
        .fetch_all(&self.pool)
        .await?;
        let settled: HashSet<i64> = settled.into_iter().collect();
        let calls = self.calls_between(id, first, last).await?;
        Ok(PastCalls { settled, calls })
    }

    async fn calls_between(&self, id: JobId, first: i64, last: i64) -> Result<Vec<PastCall>, StoreError> {
        let rows = sqlx::query!(
            r#"-- past_calls
            select c.example_index, c.sample, c.purpose, c.number, c.round, c.request_sha256,
                c.set_aside_at is not null as "is_set_aside!", c.finish_reason, c.input_tokens, c.output_tokens,
                c.latency_ms, case when c.set_aside_at is null then c.reply end as reply
            from teacher_calls c
            where c.job_id = $1 and c.example_index between $2 and $3 and not exists (
                select from annotations a where a.job_id = $1 and a.example_index = c.example_index
            )
            order by c.example_index, c.sample, c.purpose, c.number"#,
            id.0,
            first,
            last,
        )
        .fetch_all(&self.pool)
        .await?;
        let calls = rows.into_iter().map(|row| {
            let at = Place { table: "teacher_calls", id: &id };
            let key = CallKey {
                example_index: row.example_index,
                sample: row.sample,
                purpose: at.name("purpose", &row.purpose)?,
                number: row.number,
            };
            let request_sha256 = <[u8; 32]>::try_from(row.request_sha256);
            let request_sha256 =
                request_sha256.map_err(|_| at.unreadable("request_sha256", "it is no SHA-256 digest".to_owned()))?;
            let reply = row.reply.map(|text| Reply {
                text,
                finish_reason: row.finish_reason,
                input_tokens: row.input_tokens.unwrap_or_default(),
                output_tokens: row.output_tokens.unwrap_or_default(),
                latency_ms: row.latency_ms.unwrap_or_default(),
            });
            Ok(PastCall { key, round: row.round, request_sha256, reply, is_set_aside: row.is_set_aside })
        });
        calls.collect()
    }
}
