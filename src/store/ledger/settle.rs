//! What became of calls is committed.

use sqlx::PgTransaction;

use super::{Held, begin::Keys};
use crate::{
    domain::{AnnotationSums, CallKey, CallOutcome, Tokens},
    store::{StoreError, storable},
};

/// Settles calls that were sent; one that is settled already stays as it was. The condition names no state: the index of
/// sent calls, which it would invite, is small in rows and full of dead entries.
pub(super) async fn settle(
    transaction: &mut PgTransaction<'static>,
    held: &mut Held,
    settled: &[(CallKey, CallOutcome)],
) -> Result<(), StoreError> {
    if settled.is_empty() {
        return Ok(());
    }
    let keys = Keys::of(settled.iter().map(|(key, _)| key));
    let outcomes = Outcomes::of(settled.iter().map(|(_, outcome)| outcome));
    let rows = sqlx::query!(
        r#"-- ledger: settle
        update teacher_calls c
        set state = o.state, reply = o.reply, finish_reason = o.finish_reason, input_tokens = o.input_tokens,
            output_tokens = o.output_tokens, latency_ms = o.latency_ms, error = o.error, settled_at = clock_timestamp()
        from unnest($2::bigint[], $3::integer[], $4::text[], $5::integer[], $6::text[], $7::text[], $8::text[],
                $9::bigint[], $10::bigint[], $11::bigint[], $12::text[])
            as o (example_index, sample, purpose, number, state, reply, finish_reason, input_tokens, output_tokens,
                latency_ms, error)
        where c.job_id = $1 and c.example_index = o.example_index and c.sample = o.sample and c.purpose = o.purpose
            and c.number = o.number and c.settled_at is null
        returning c.state, c.reserved_input_tokens, c.reserved_output_tokens, c.input_tokens, c.output_tokens"#,
        held.job,
        &keys.indexes,
        &keys.samples,
        &keys.purposes,
        &keys.numbers,
        &outcomes.states,
        &outcomes.replies as &[Option<String>],
        &outcomes.finish_reasons as &[Option<String>],
        &outcomes.input_tokens as &[Option<i64>],
        &outcomes.output_tokens as &[Option<i64>],
        &outcomes.latencies as &[Option<i64>],
        &outcomes.errors as &[Option<String>],
    )
    .fetch_all(&mut **transaction)
    .await?;
    for row in rows {
        let reserved = Tokens { input: row.reserved_input_tokens, output: row.reserved_output_tokens };
        let paid = row.input_tokens.zip(row.output_tokens).map(|(input, output)| Tokens { input, output });
        count(&mut held.sums, &row.state, reserved, paid.unwrap_or_default());
    }
    Ok(())
}

/// Counts a call that is no longer under way.
pub(super) fn count(sums: &mut AnnotationSums, state: &str, reserved: Tokens, paid: Tokens) {
    sums.reserved.input -= reserved.input;
    sums.reserved.output -= reserved.output;
    match state {
        "answered" => {
            sums.answered_calls += 1;
            sums.answered = sums.answered.plus(paid);
        }
        "failed" => sums.failed_calls += 1,
        _ => {
            sums.unknown_calls += 1;
            sums.unknown = sums.unknown.plus(reserved);
        }
    }
}

/// Outcomes as columns.
#[derive(Default)]
struct Outcomes {
    states: Vec<String>,
    replies: Vec<Option<String>>,
    finish_reasons: Vec<Option<String>>,
    input_tokens: Vec<Option<i64>>,
    output_tokens: Vec<Option<i64>>,
    latencies: Vec<Option<i64>>,
    errors: Vec<Option<String>>,
}

impl Outcomes {
    fn of<'a>(outcomes: impl Iterator<Item = &'a CallOutcome>) -> Self {
        let mut columns = Self::default();
        for outcome in outcomes {
            let (reply, error) = match outcome {
                CallOutcome::Answered(reply) => (Some(reply), None),
                CallOutcome::Failed(error) | CallOutcome::Unknown(error) => (None, Some(storable::text(error))),
            };
            columns.states.push(outcome.as_str().to_owned());
            columns.replies.push(reply.map(|reply| storable::text(&reply.text)));
            columns.finish_reasons.push(reply.and_then(|reply| storable::optional(&reply.finish_reason)));
            columns.input_tokens.push(reply.map(|reply| reply.input_tokens));
            columns.output_tokens.push(reply.map(|reply| reply.output_tokens));
            columns.latencies.push(reply.map(|reply| reply.latency_ms));
            columns.errors.push(error);
        }
        columns
    }
}
