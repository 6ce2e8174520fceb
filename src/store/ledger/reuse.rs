//! An equal request that was answered before is not sent again, whichever job had paid for it.

use std::collections::HashMap;

use sqlx::PgTransaction;

use super::{Held, begin::Questions};
use crate::{
    domain::{CallKey, NewCall, Reply},
    store::{StoreError, rows::Place},
};

/// Writes down which of the wanted answers there are, and gives them.
pub(super) async fn reuse(
    transaction: &mut PgTransaction<'static>,
    held: &mut Held,
    wanted: &[NewCall],
) -> Result<HashMap<CallKey, Reply>, StoreError> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let Questions { keys, rounds, digests } = Questions::of(wanted);
    // Where the same batch is committed twice, the second time finds the rows of the first: those are given, not counted.
    let rows = sqlx::query!(
        r#"-- ledger: reuse
        insert into teacher_calls as c (job_id, project_id, hand, state, reserved_input_tokens,
            reserved_output_tokens, input_tokens, output_tokens, settled_at, example_index, sample, purpose, number, round,
            request_sha256, reply, finish_reason, latency_ms, reused_from_job_id)
        select $1, $2, $3, 'reused', 0, 0, 0, 0, clock_timestamp(), w.*, source.*
        from unnest($4::bigint[], $5::integer[], $6::text[], $7::integer[], $8::integer[], $9::bytea[])
                as w (example_index, sample, purpose, number, round, request_sha256),
            lateral (
                select a.reply, a.finish_reason, a.latency_ms, a.job_id
                from teacher_calls a
                where a.project_id = $2 and a.request_sha256 = w.request_sha256 and a.state = 'answered'
                    and a.set_aside_at is null
                order by a.settled_at
                limit 1
            ) as source
        on conflict (job_id, example_index, sample, purpose, number) do update set hand = excluded.hand
        returning c.example_index, c.sample, c.purpose, c.number, c.reply as "reply!", c.finish_reason,
            c.latency_ms as "latency_ms!", c.xmax::text = '0' as "is_new!""#,
        held.job,
        held.project,
        held.epoch,
        &keys.indexes,
        &keys.samples,
        &keys.purposes,
        &keys.numbers,
        &rounds,
        &digests,
    )
    .fetch_all(&mut **transaction)
    .await?;
    let mut found = HashMap::new();
    for row in rows {
        held.sums.reused_calls += i64::from(row.is_new);
        let at = Place { table: "teacher_calls", id: &held.job };
        let purpose = at.name("purpose", &row.purpose)?;
        let key = CallKey { example_index: row.example_index, sample: row.sample, purpose, number: row.number };
        let (text, finish_reason, latency_ms) = (row.reply, row.finish_reason, row.latency_ms);
        found.insert(key, Reply { text, finish_reason, input_tokens: 0, output_tokens: 0, latency_ms });
    }
    Ok(found)
}
