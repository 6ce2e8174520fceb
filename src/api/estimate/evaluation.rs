//! What it takes to have models answer the rows of a file.

use super::{PAST_JOBS, Unknown, sample};
use crate::{
    api::ProjectState,
    domain::{Estimate, EvaluationSpec, JobKind, Span, Split},
};

pub(super) async fn estimate(state: &ProjectState, spec: &EvaluationSpec) -> Result<Estimate, Unknown> {
    let file = sample::file(state, spec.file).await?;
    let labeled = file.validation.rows_of(&Split::EVALUATED).labeled.min(spec.max_examples.unwrap_or(u64::MAX));
    let rows = labeled * spec.models.len() as u64;
    let past = state.store.past_jobs(state.project, JobKind::Evaluation, PAST_JOBS).await?;
    // Models differ too much in size for a mean to mean more than this.
    let paces: Vec<f64> = past
        .iter()
        .filter(|past| past.estimate.rows > 0)
        .filter_map(|past| Some(past.taken.seconds? / past.estimate.rows as f64))
        .collect();
    let seconds = (!paces.is_empty()).then(|| Span {
        low: 0.5 * paces.iter().copied().fold(f64::INFINITY, f64::min),
        expected: paces.iter().sum::<f64>() / paces.len() as f64,
        high: 2.0 * paces.iter().copied().fold(0.0, f64::max),
    });
    Ok(Estimate {
        rows,
        seconds: seconds.map(|span| span.times(rows as f64)),
        drawn_from_jobs: paces.len().try_into().unwrap_or(u32::MAX),
        ..Estimate::default()
    })
}
