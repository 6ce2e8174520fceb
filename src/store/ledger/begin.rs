//! Calls are written down, each with what its worst case may cost.

use sqlx::PgTransaction;

use super::Held;
use crate::{
    domain::{Allowance, CallKey, NewCall, Tokens},
    store::StoreError,
};

/// Keys as columns, for statements about many calls.
pub(super) struct Keys {
    pub indexes: Vec<i64>,
    pub samples: Vec<i32>,
    pub purposes: Vec<String>,
    pub numbers: Vec<i32>,
}

/// What is asked, as columns.
pub(super) struct Questions {
    pub keys: Keys,
    pub rounds: Vec<i32>,
    pub digests: Vec<Vec<u8>>,
}

impl Questions {
    pub(super) fn of(calls: &[NewCall]) -> Self {
        Self {
            keys: Keys::of(calls.iter().map(|call| &call.key)),
            rounds: calls.iter().map(|call| call.round).collect(),
            digests: calls.iter().map(|call| call.request_sha256.to_vec()).collect(),
        }
    }
}

impl Keys {
    pub(super) fn of<'a>(keys: impl Iterator<Item = &'a CallKey>) -> Self {
        let mut columns = Self { indexes: vec![], samples: vec![], purposes: vec![], numbers: vec![] };
        for CallKey { example_index, sample, purpose, number } in keys {
            columns.indexes.push(*example_index);
            columns.samples.push(*sample);
            columns.purposes.push(purpose.as_str().to_owned());
            columns.numbers.push(*number);
        }
        columns
    }
}

/// Begins the first of these calls, as many as there is room for, and says how many these are.
pub(super) async fn begin(
    transaction: &mut PgTransaction<'static>,
    held: &mut Held,
    calls: &[NewCall],
    allowance: &Allowance,
) -> Result<usize, StoreError> {
    let mut room = 0;
    for call in calls {
        let worst = Tokens { input: call.input_tokens, output: call.output_tokens };
        if !allowance.has_room(&held.sums, worst) {
            break;
        }
        held.sums.reserved = held.sums.reserved.plus(worst);
        room += 1;
    }
    if room > 0 {
        insert(transaction, held, &calls[..room]).await?;
    }
    Ok(room)
}

async fn insert(transaction: &mut PgTransaction<'static>, held: &Held, calls: &[NewCall]) -> Result<(), StoreError> {
    let Questions { keys, rounds, digests } = Questions::of(calls);
    let (inputs, outputs): (Vec<i64>, Vec<i64>) =
        calls.iter().map(|call| (call.input_tokens, call.output_tokens)).unzip();
    sqlx::query!(
        r#"-- ledger: begin
        insert into teacher_calls (job_id, project_id, hand, state, example_index, sample, purpose, number, round,
            request_sha256, reserved_input_tokens, reserved_output_tokens)
        select $1, $2, $3, 'sent', c.*
        from unnest($4::bigint[], $5::integer[], $6::text[], $7::integer[], $8::integer[], $9::bytea[], $10::bigint[],
            $11::bigint[]) as c"#,
        held.job,
        held.project,
        held.epoch,
        &keys.indexes,
        &keys.samples,
        &keys.purposes,
        &keys.numbers,
        &rounds,
        &digests,
        &inputs,
        &outputs,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Removes those of these calls that a commit has begun whose answer was lost: none of them has been sent.
pub(super) async fn take_back(
    transaction: &mut PgTransaction<'static>,
    held: &mut Held,
    calls: &[NewCall],
) -> Result<(), StoreError> {
    let keys = Keys::of(calls.iter().map(|call| &call.key));
    let taken = sqlx::query!(
        r#"-- ledger: take back
        delete from teacher_calls c
        using unnest($2::bigint[], $3::integer[], $4::text[], $5::integer[]) as k (example_index, sample, purpose, number)
        where c.job_id = $1 and c.example_index = k.example_index and c.sample = k.sample and c.purpose = k.purpose
            and c.number = k.number and c.settled_at is null and c.hand = $6
        returning c.reserved_input_tokens, c.reserved_output_tokens"#,
        held.job,
        &keys.indexes,
        &keys.samples,
        &keys.purposes,
        &keys.numbers,
        held.epoch,
    )
    .fetch_all(&mut **transaction)
    .await?;
    for row in taken {
        held.sums.reserved.input -= row.reserved_input_tokens;
        held.sums.reserved.output -= row.reserved_output_tokens;
    }
    Ok(())
}
