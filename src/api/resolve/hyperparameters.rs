//! Hyperparameters that no training can use.

use std::collections::BTreeSet;

use super::Refusals;
use crate::domain::{Hyperparameters, Validating};

/// Longest input or target; attention's memory grows with its square.
const MAX_LENGTH: u32 = 8192;

/// Seeds of one job.
const MAX_SEEDS: usize = 100;

/// Checkpoints that a training may keep; each has the size of the student.
const MAX_KEPT: u32 = 1000;

/// Refuses every value outside its range.
pub fn check(refusals: &mut Refusals, given: &Hyperparameters) {
    whole_numbers(refusals, given);
    seeds(refusals, given);
    let mut real = |name: &str, value: Option<f64>, right: fn(f64) -> bool, range: &str| {
        let Some(value) = value else { return };
        refusals
            .require(right(value), &format!("#/hyperparameters/{name}"), || format!("{name} is {value}; send {range}"));
    };
    real("learning_rate", given.learning_rate, |x| x > 0.0 && x <= 10.0, "a number above 0, at most 10");
    real("weight_decay", Some(given.weight_decay), |x| (0.0..=1.0).contains(&x), "0 to 1");
    real("clip_norm", Some(given.clip_norm), |x| (0.0..1e9).contains(&x), "0 (off) or more");
    real("epochs", given.epochs, |x| x > 0.0 && x <= 1e6, "a number above 0");
    real("dropout", given.dropout, |x| (0.0..1.0).contains(&x), "0 to less than 1");
    real(
        "early_stopping_min_delta",
        Some(given.early_stopping_min_delta),
        |x| (0.0..1.0).contains(&x),
        "0 to less than 1",
    );
    let weight = Some(given.mutual_information_weight);
    real("mutual_information_weight", weight, |x| (0.0..=1000.0).contains(&x), "0 (off) to 1000");
    real("train_fraction", Some(given.train_fraction), |x| x > 0.0 && x <= 1.0, "a number above 0, at most 1");
}

/// Early stopping goes by the accuracy on validation rows: without them it would never come, and nobody would be told.
pub fn check_early_stopping(refusals: &mut Refusals, given: &Hyperparameters, validation: &Validating) {
    let is_examined = !matches!(validation, Validating::Fraction { fraction: 0.0, .. });
    refusals.require(
        is_examined || given.early_stopping_patience.is_none(),
        "#/hyperparameters/early_stopping_patience",
        || {
            "early stopping needs validation rows; send \"validation\" with a file, or with a fraction above 0"
                .to_owned()
        },
    );
}

/// Two rounds under one seed would be the same student twice, and its standard error too small.
fn seeds(refusals: &mut Refusals, given: &Hyperparameters) {
    let Some(seeds) = &given.seeds else { return };
    let different: BTreeSet<u64> = seeds.iter().copied().collect();
    let is_right = (1..=MAX_SEEDS).contains(&seeds.len()) && different.len() == seeds.len();
    refusals.require(is_right, "#/hyperparameters/seeds", || {
        format!("{} seeds, {} of them different; send 1 to {MAX_SEEDS} different ones", seeds.len(), different.len())
    });
}

fn whole_numbers(refusals: &mut Refusals, given: &Hyperparameters) {
    let bounds = [
        ("batch_size", Some(given.batch_size), 65_536),
        ("micro_batch_size", given.micro_batch_size, given.batch_size.max(1)),
        ("max_steps", given.max_steps, 100_000_000),
        ("eval_steps", Some(given.eval_steps), u32::MAX),
        ("eval_rows", given.eval_rows, u32::MAX),
        ("early_stopping_patience", given.early_stopping_patience, u32::MAX),
        ("log_every", Some(given.log_every), u32::MAX),
        ("max_input_length", given.max_input_length, MAX_LENGTH),
        ("max_label_length", given.max_label_length, MAX_LENGTH),
        ("max_rationale_length", given.max_rationale_length, MAX_LENGTH),
        ("threads", given.threads, Hyperparameters::MAX_THREADS),
        ("keep_checkpoints/last", Some(given.keep_checkpoints.last), MAX_KEPT),
        ("keep_checkpoints/best", Some(given.keep_checkpoints.best), MAX_KEPT),
    ];
    for (name, value, most) in bounds {
        let Some(value) = value else { continue };
        refusals.require((1..=most).contains(&value), &format!("#/hyperparameters/{name}"), || {
            format!("{name} is {value}; send 1 to {most}")
        });
    }
}
