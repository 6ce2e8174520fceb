//! A model that is one of several which differ in their seed alone: what the others were like.

use std::fmt::Write;

use crate::domain::{Accuracies, StudentCard};

pub fn render(card: Option<&StudentCard>) -> String {
    let seeds = card.map(|card| card.seeds.as_slice()).unwrap_or_default();
    if seeds.len() < 2 {
        return String::new();
    }
    let mut text = format!(
        "\nIt is one of {} students that differ in their seed alone, chosen by the validation rows: what it reached there \
         flatters it. All of them:\n\n| seed | validation | test |\n|---|---|---|\n",
        seeds.len()
    );
    for outcome in seeds {
        let (validation, test) = (figure(outcome.validation_accuracy), figure(outcome.test_accuracy));
        let _ = writeln!(text, "| {} | {validation} | {test} |", outcome.seed);
    }
    let (mean, error) = (Accuracies::mean(seeds), Accuracies::standard_error(seeds));
    let validation = with_error(mean.validation_accuracy, error.validation_accuracy);
    let _ = writeln!(
        text,
        "| mean ± standard error | {validation} | {} |",
        with_error(mean.test_accuracy, error.test_accuracy)
    );
    text
}

fn figure(accuracy: Option<f64>) -> String {
    accuracy.map_or_else(|| "–".to_owned(), |accuracy| format!("{accuracy:.4}"))
}

fn with_error(mean: Option<f64>, error: Option<f64>) -> String {
    match (mean, error) {
        (Some(mean), Some(error)) => format!("{mean:.4} ± {error:.4}"),
        (mean, _) => figure(mean),
    }
}
