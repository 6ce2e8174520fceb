//! What is told when an annotation pauses itself: because its budget is spent, or because its first rows went wrong.

use serde_json::json;

use crate::{
    domain::{AnnotationSpec, AnnotationStatus, AnnotationSums, PauseReason, Smoke, Tokens},
    store::{EventLevel, NewEvent, SmokeReport},
    teacher::TeacherClient,
    worker::AttemptError,
};

/// The budget has no room for a call of this worst case, and nothing is under way.
pub(super) fn out_of_budget(
    spec: &AnnotationSpec,
    teacher: &TeacherClient,
    sums: &AnnotationSums,
    next: Tokens,
) -> AttemptError {
    let (prices, spent) = (teacher.prices(), sums.spent());
    let message = format!(
        "the budget has no room for the next call: {} are spent, and the call may take {}; resume the job with a larger \
         budget",
        prices.in_words(spent),
        prices.in_words(next),
    );
    let data = json!({
        "reason": PauseReason::Budget.as_str(),
        "budget": spec.budget,
        "spent_tokens": spent.total(),
        "spent_usd": prices.known_cost_usd(spent),
        "unknown_tokens": sums.unknown.total(),
        "unknown_usd": prices.known_cost_usd(sums.unknown),
        "next_call_tokens": next.total(),
        "next_call_usd": prices.known_cost_usd(next),
        "calls": {
            "answered": sums.answered_calls,
            "failed": sums.failed_calls,
            "unknown": sums.unknown_calls,
            "reused": sums.reused_calls,
        },
        "examples": sums.settled(),
    });
    paused(PauseReason::Budget, message, data)
}

/// Too few of the first rows are valid.
pub(super) fn failed_smoke(smoke: Smoke, report: &SmokeReport) -> AttemptError {
    let valid = report.of(AnnotationStatus::Valid);
    let message = format!(
        "{valid} of the first {} rows are valid, and {} must be; resume the job to ask about the rest all the same",
        report.rows(),
        smoke.min_valid
    );
    let counts: serde_json::Map<_, _> =
        AnnotationStatus::ALL.iter().map(|status| (status.as_str().to_owned(), json!(report.of(*status)))).collect();
    let examples: Vec<_> = report
        .failing
        .iter()
        .map(|row| {
            json!({"example_index": row.example_index, "id": row.example_id, "status": row.status, "reason": row.reason,
                "raw_output": row.raw_output})
        })
        .collect();
    let data = json!({
        "reason": PauseReason::Smoke.as_str(),
        "rows": report.rows(),
        "min_valid": smoke.min_valid,
        "counts": counts,
        "examples": examples,
    });
    paused(PauseReason::Smoke, message, data)
}

fn paused(reason: PauseReason, message: String, data: serde_json::Value) -> AttemptError {
    let event = NewEvent { level: EventLevel::Warn, code: "paused".to_owned(), message, data };
    AttemptError::Paused { reason, event: Box::new(event) }
}
