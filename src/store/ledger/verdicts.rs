//! What becomes of examples is committed.

use serde_json::{Value, json};
use sqlx::PgTransaction;

use super::Held;
use crate::{
    domain::{Annotation, AnnotationStatus, Split},
    store::{StoreError, storable},
};

/// Writes verdicts; an example that has one keeps it.
pub(super) async fn write(
    transaction: &mut PgTransaction<'static>,
    held: &mut Held,
    verdicts: &[Annotation],
) -> Result<(), StoreError> {
    if verdicts.is_empty() {
        return Ok(());
    }
    let rows: Vec<Value> = verdicts.iter().map(row).collect();
    let written = sqlx::query_scalar!(
        r#"-- ledger: verdicts
        insert into annotations (job_id, project_id, example_index, example_id, input, label, split, status, reason,
            teacher_label, rationale, more_rationales, rationale_faults, rationale_fingerprint, raw_output, samples, agreement,
            repaired, rationalized, input_tokens, output_tokens, latency_ms)
        select $1, $2, v.*
        from jsonb_to_recordset($3) as v (example_index bigint, example_id text, input text, label text, split text,
            status text, reason text, teacher_label text, rationale text, more_rationales text[], rationale_faults text[],
            rationale_fingerprint bigint, raw_output text,
            samples integer, agreement double precision, repaired boolean, rationalized boolean, input_tokens bigint,
            output_tokens bigint, latency_ms bigint)
        on conflict (job_id, example_index) do nothing
        returning status"#,
        held.job,
        held.project,
        storable::json(&rows),
    )
    .fetch_all(&mut **transaction)
    .await?;
    for status in written {
        let place = AnnotationStatus::ALL.iter().position(|known| known.as_str() == status);
        place.into_iter().for_each(|place| held.sums.verdicts[place] += 1);
    }
    Ok(())
}

fn row(verdict: &Annotation) -> Value {
    json!({
        "example_index": verdict.example_index,
        "example_id": verdict.example_id,
        "input": verdict.input,
        "label": verdict.label,
        "split": verdict.split.map(Split::as_str),
        "status": verdict.status.as_str(),
        "reason": verdict.reason,
        "teacher_label": verdict.teacher_label,
        "rationale": verdict.rationale,
        "more_rationales": verdict.more_rationales,
        "rationale_faults": verdict.rationale_faults,
        "rationale_fingerprint": verdict.rationale_fingerprint,
        "raw_output": verdict.raw_output,
        "samples": verdict.samples,
        "agreement": verdict.agreement,
        "repaired": verdict.repaired,
        "rationalized": verdict.rationalized,
        "input_tokens": verdict.input_tokens,
        "output_tokens": verdict.output_tokens,
        "latency_ms": verdict.latency_ms,
    })
}
