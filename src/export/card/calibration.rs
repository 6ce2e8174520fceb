//! How far the model's probabilities can be taken at their word.

use super::Subject;
use crate::domain::{Calibration, LabelSet};

/// The errors before and after, or why there are none.
pub fn render(subject: &Subject<'_>) -> String {
    let Some(card) = subject.card.filter(|card| card.task.label_set != LabelSet::Open) else { return String::new() };
    let text = match &card.calibration {
        None if subject.lineage.is_some_and(|lineage| lineage.step.is_some()) => {
            "Not calibrated: that is done at the end of a training, and these are weights of its way.\n".to_owned()
        }
        None if subject.lineage.is_some() => "Not calibrated: its training had no validation rows for it.\n".to_owned(),
        None => return String::new(),
        Some(Calibration {
            rows,
            temperature: Some(temperature),
            error_before: Some(before),
            error_after: Some(after),
            ..
        }) => {
            format!(
                "Probabilities of its label set are shares of the labels' likelihoods, each log-likelihood divided by the temperature \
                 {temperature:.2}, which was fitted on {rows} validation rows. Expected calibration error on them (15 bins of one width; \
                 0 is best):\n\n| without the temperature | with it |\n|---|---|\n| {before:.4} | {after:.4} |\n\n`stepwise` divides by \
                 it (`calibration` in `stepwise.json`); `generate` does not. The same rows chose the weights, so that other rows may be off by \
                 more.\n"
            )
        }
        Some(Calibration { rows, fault: Some(fault), .. }) => {
            format!(
                "Not calibrated: its {rows} validation rows with a label of the set could not be weighed: {fault}.\n"
            )
        }
        Some(Calibration { rows, .. }) => format!(
            "Not calibrated: of its validation rows {rows} have a label of the set, and fewer than {} fit nothing.\n",
            Calibration::LEAST_ROWS
        ),
    };
    format!("## Calibration\n\n{text}")
}

/// What must not be read into its probabilities.
pub fn limitation(subject: &Subject<'_>) -> &'static str {
    if subject.card.and_then(|card| card.calibration.as_ref()?.temperature).is_some() {
        "Probabilities are calibrated for its own label set alone: not for another set, nor for words of its own."
    } else {
        "Probabilities are the network's own and not calibrated."
    }
}
