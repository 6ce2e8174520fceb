//! How far a student's confidence can be taken at its word.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the probabilities of a student's own label set were fitted to how often it is right, by temperature scaling (Guo et al.,
/// 2017): each label's log-likelihood is divided by one number before their shares are taken. Which label is the likeliest stays
/// the same. The temperature is fitted on validation rows at the end of the training; test rows have no part in it. Where the
/// rows were judged by the teacher's labels, the confidence is that of saying what the teacher would say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Calibration {
    /// Validation rows whose label is one of the set.
    pub rows: u64,
    /// What log-likelihoods are divided by: above 1 where the student was too sure, below 1 where it was not sure enough. Null
    /// where there were fewer than 30 rows: then nothing was fitted.
    #[schema(required = true)]
    pub temperature: Option<f64>,
    /// The expected calibration error without it, 0..1: answers are sorted by confidence into 15 bins of one width, and the
    /// difference of mean confidence and accuracy is averaged over the bins, each by its share of the rows. Null where nothing was
    /// fitted.
    #[schema(required = true)]
    pub error_before: Option<f64>,
    /// The same with it, on the rows that it was fitted on. The temperature makes the right labels likely, and not this figure
    /// small, which therefore may be the larger one where there was little to mend.
    #[schema(required = true)]
    pub error_after: Option<f64>,
    /// Why nothing was fitted, where the rows could not be weighed, for want of memory perhaps; null where they could. The
    /// student is none the worse for it, but its probabilities are the network's own.
    #[serde(default)]
    #[schema(required = true)]
    pub fault: Option<String>,
}

impl Calibration {
    /// Rows that a temperature is fitted on, at least: of fewer, one or two answers decide.
    pub const LEAST_ROWS: usize = 30;

    /// Of rows that could not be weighed.
    pub fn failed(rows: u64, fault: String) -> Self {
        Self { rows, fault: Some(fault), ..Self::default() }
    }
}

/// Each label's share of the likelihood at a temperature; all of them NaN where no score is a number.
pub fn shares(log_likelihoods: &[f64], temperature: f64) -> Vec<f64> {
    let best = log_likelihoods.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights = log_likelihoods.iter().map(|score| ((score - best) / temperature).exp());
    let total: f64 = weights.clone().sum();
    weights.map(|weight| weight / total).collect()
}
