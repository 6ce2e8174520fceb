//! How often the teacher is asked, how carefully, and for how much: checked and filled in.

use super::AnnotationJobRequest;
use crate::{
    api::{ProjectState, resolve::Refusals},
    domain::{Budget, File, RationaleKeeping, Smoke},
};

/// Samples of an example, at most: as many as the research on self-consistency found worth while.
const MAX_SAMPLES: u32 = 40;
/// The temperature of several samples, where the request names none: that of Wang et al., 2023 (arXiv 2203.11171).
const SAMPLING_TEMPERATURE: f64 = 0.7;

/// The sampling temperature. Several samples at temperature 0 would be one answer, paid for several times.
pub(super) fn temperature(refusals: &mut Refusals, request: &AnnotationJobRequest) -> f64 {
    let several = samples(request) > 1;
    let temperature = request.temperature.unwrap_or(if several { SAMPLING_TEMPERATURE } else { 0.0 });
    refusals.require((0.0..=2.0).contains(&temperature), "#/temperature", || {
        format!("temperature is {temperature}; send 0 to 2")
    });
    refusals.require(!several || temperature != 0.0, "#/temperature", || {
        format!(
            "at temperature 0 all samples are alike; send more than 0, such as {SAMPLING_TEMPERATURE}, or one sample"
        )
    });
    temperature
}

/// How often each example is asked about.
pub(super) fn samples(request: &AnnotationJobRequest) -> u32 {
    request.samples.unwrap_or(1)
}

/// Whatever is wrong with samples, budget and smoke.
pub(super) fn check(state: &ProjectState, refusals: &mut Refusals, request: &AnnotationJobRequest) {
    let samples = samples(request);
    refusals.require((1..=MAX_SAMPLES).contains(&samples), "#/samples", || {
        format!("samples is {samples}; send 1 to {MAX_SAMPLES}")
    });
    if let Some(budget) = &request.budget {
        check_budget(state, refusals, &request.teacher, budget);
    }
    if let Some(Smoke { rows, min_valid }) = request.smoke {
        refusals.require(rows > 0, "#/smoke/rows", || "smoke.rows is 0; send 1 or more".to_owned());
        refusals.require((1..=rows.max(1)).contains(&min_valid), "#/smoke/min_valid", || {
            format!("smoke.min_valid is {min_valid}; send 1 to {rows}, the rows that are asked about first")
        });
    }
}

/// What of a request only the rows of its file can tell.
pub(super) fn check_rows(refusals: &mut Refusals, request: &AnnotationJobRequest, file: &File) {
    let rows = file.validation.valid_rows.min(request.max_examples.unwrap_or(u64::MAX));
    if let Some(smoke) = request.smoke {
        refusals.require(smoke.min_valid <= rows, "#/smoke/min_valid", || {
            format!("smoke.min_valid is {}, and the job has {rows} rows; send {rows} or less", smoke.min_valid)
        });
    }
    let keeping = request.rationales.unwrap_or_default();
    let has_truth = file.validation.labeled_rows > 0;
    refusals.require(keeping == RationaleKeeping::All || has_truth, "#/rationales", || {
        "no row of the file has a label to hold rationales against; send all, or a file with ground truth".to_owned()
    });
}

/// A budget that can hold: it has a limit, and a teacher with prices where that is in dollars.
pub(in crate::api) fn check_budget(state: &ProjectState, refusals: &mut Refusals, teacher: &str, budget: &Budget) {
    let Budget { max_usd, max_tokens } = *budget;
    refusals.require(max_usd.is_some() || max_tokens.is_some(), "#/budget", || {
        "the budget has no limit; send max_usd, max_tokens or both".to_owned()
    });
    refusals.require(max_tokens != Some(0), "#/budget/max_tokens", || {
        "max_tokens is 0; send 1 or more, or leave it out for no limit".to_owned()
    });
    let Some(usd) = max_usd else { return };
    refusals.require(usd.is_finite() && usd > 0.0, "#/budget/max_usd", || {
        format!("max_usd is {usd}; send more than 0, or leave it out for no limit")
    });
    let prices = state.teachers.iter().find(|known| known.name == teacher).map(|known| known.prices());
    refusals.require(prices.is_none_or(|prices| prices.are_known()), "#/budget/max_usd", || {
        format!(
            "the configuration has no prices for the teacher {teacher:?}, so that no limit in dollars would ever be reached; \
             set usd_per_million_input_tokens and usd_per_million_output_tokens, or send max_tokens"
        )
    });
}
