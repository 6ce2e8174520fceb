//! What a job is told when answers of its teacher cannot be used: most of them, while it still runs and costs money, or all of
//! them, at its end. Neither stops it: the user may know better.

use serde_json::{Value, json};

use crate::{
    domain::{AnnotationStatus, AnnotationSums, RejectionCount, VerdictCounts},
    store::{EventLevel, NewEvent},
};

/// Settled examples before which a share is chance.
const ENOUGH: i64 = 100;
/// Reasons that an event names.
pub const REASONS: i64 = 5;

/// Whether more than half of enough examples are not valid.
pub fn are_most(sums: &AnnotationSums) -> bool {
    let settled = sums.settled();
    settled >= ENOUGH && 2 * sums.of(AnnotationStatus::Valid) < settled
}

/// What is told of a job most of whose answers cannot be used.
pub fn most(sums: &AnnotationSums, reasons: &[RejectionCount]) -> NewEvent {
    let (settled, valid) = (sums.settled(), sums.of(AnnotationStatus::Valid));
    let message = format!(
        "{} of the {settled} examples that are settled are not valid: {}; the job goes on, and costs: pause or cancel it \
         where that is in vain",
        settled - valid,
        in_words(reasons)
    );
    event("mostly_invalid", message, json!({"settled": settled, "valid": valid, "reasons": reasons}))
}

/// What is told of a job none of whose answers can be used.
pub fn all(counts: &VerdictCounts, reasons: &[RejectionCount]) -> NewEvent {
    let message = format!(
        "none of the {} examples is valid: {}; the output file is empty, and the rejections file has what came",
        counts.total,
        in_words(reasons)
    );
    event("nothing_valid", message, json!({"counts": counts, "reasons": reasons}))
}

fn event(code: &str, message: String, data: Value) -> NewEvent {
    NewEvent { level: EventLevel::Warn, code: code.to_owned(), message, data }
}

fn in_words(reasons: &[RejectionCount]) -> String {
    let one = |found: &RejectionCount| {
        let why = found.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        format!("{} {}{why}", found.examples, found.status.as_str())
    };
    reasons.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_half_of_at_least_a_hundred_must_be_invalid() {
        let sums = |valid, invalid| AnnotationSums { verdicts: [valid, invalid, 0, 0, 0], ..AnnotationSums::default() };
        assert!(!are_most(&sums(0, 99)), "too few to tell");
        assert!(!are_most(&sums(50, 50)), "half is not more than half");
        assert!(are_most(&sums(49, 51)) && are_most(&sums(0, 100)));
    }

    #[test]
    fn the_commonest_reasons_are_named() {
        let reasons = [
            RejectionCount { status: AnnotationStatus::Invalid, reason: Some("no label".to_owned()), examples: 90 },
            RejectionCount { status: AnnotationStatus::Failed, reason: None, examples: 11 },
        ];
        let told = most(&AnnotationSums { verdicts: [9, 90, 0, 0, 11], ..AnnotationSums::default() }, &reasons);
        assert!(
            told.message.starts_with(
                "101 of the 110 examples that are settled are not valid: 90 invalid (no label), 11 failed;"
            )
        );
    }
}
