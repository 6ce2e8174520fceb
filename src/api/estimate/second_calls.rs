//! Calls beyond the first for an answer: to ask once more for what cannot be read, and for the reasons of right labels.

use crate::{
    domain::{AnnotationSpec, Example, JobSpec, RationaleKeeping, Span},
    store::PastJob,
    task::prompt,
};

/// Share of answers that cannot be read, where this teacher has none on record: the paper's had 0 to 5 % of them.
const UNREADABLE: Span = Span { low: 0.0, expected: 0.03, high: 0.1 };
/// Share of wrong labels, where this teacher has none on record: the paper's had 23 to 34 % of them.
const WRONG: Span = Span { low: 0.05, expected: 0.25, high: 0.5 };
/// What a repair says was wrong, at its usual length.
const REASON: &str = "label \"store credit\" is not one of: refund, exchange, reject";

/// Second calls for each answer: as jobs of the like had them, else by rules of thumb.
pub(super) fn for_each_answer(spec: &AnnotationSpec, past: &[PastJob], examples: &[Example]) -> Span {
    let reasons = spec.rationales == RationaleKeeping::Rationalize;
    if !spec.repair && !reasons {
        return Span::exactly(0.0);
    }
    on_record(spec, past).unwrap_or_else(|| {
        let labeled = examples.iter().filter(|example| example.label.is_some()).count();
        let share = labeled as f64 / examples.len().max(1) as f64;
        // Reasons are asked for once, however many samples there are.
        let wrong = if reasons { WRONG.times(share / f64::from(spec.samples.max(1))) } else { Span::exactly(0.0) };
        if spec.repair { wrong.plus(UNREADABLE) } else { wrong }
    })
}

/// The mean over jobs that asked a second time for the same reasons, and the jobs furthest off with a margin.
fn on_record(spec: &AnnotationSpec, past: &[PastJob]) -> Option<Span> {
    let shares: Vec<f64> = past.iter().filter_map(|past| share(spec, past)).collect();
    let furthest = |better: fn(f64, f64) -> f64| shares.iter().copied().reduce(better);
    Some(Span {
        low: 0.8 * furthest(f64::min)?,
        expected: shares.iter().sum::<f64>() / shares.len() as f64,
        high: 1.25 * furthest(f64::max)?,
    })
}

fn share(spec: &AnnotationSpec, past: &PastJob) -> Option<f64> {
    let JobSpec::Annotation(other) = &past.spec else { return None };
    let alike = other.repair == spec.repair && other.rationales == spec.rationales && other.task == spec.task;
    let answers = past.taken.rows().filter(|rows| alike && *rows > 0.0)? * f64::from(other.samples.max(1));
    let reused = past.taken.number("/calls/reused").unwrap_or(0.0);
    let calls = past.taken.number("/calls/answered").map_or(answers, |answered| answered + reused);
    Some((calls / answers - 1.0).max(0.0))
}

/// A second question as one text, without the answer that it is about.
pub(super) fn text(spec: &AnnotationSpec, input: &str) -> String {
    prompt::as_text(&prompt::repair(&spec.task, spec.answer_form, input, "", REASON))
}
