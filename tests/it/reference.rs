//! The student and its trainer against what transformers computed from the same weights and rows: `shared/reference`, and
//! every folder of that form below those that `STEPWISE_REFERENCE` lists (`make reference-check`). Each comparison prints the
//! largest difference that it found; the tolerances are what rounding in fp32 justifies.

mod student;
mod trainer;

use std::{env, fs, path::PathBuf};

use serde_json::Value;

use crate::{student::json, support::shared::shared};

/// A model with what transformers computed of it.
struct Case {
    name: String,
    folder: PathBuf,
    expected: Value,
}

fn cases() -> Vec<Case> {
    let further = env::var_os("STEPWISE_REFERENCE");
    let roots = shared("reference").into_iter().chain(further.iter().flat_map(env::split_paths));
    let folders = roots.flat_map(|root| fs::read_dir(root).unwrap()).map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = folders.filter(|folder| folder.join("expected.json").exists()).collect();
    folders.sort();
    let case = |folder: PathBuf| Case {
        name: folder.file_name().unwrap().to_str().unwrap().to_owned(),
        expected: json(&folder.join("expected.json")),
        folder,
    };
    folders.into_iter().map(case).collect()
}

/// A number beside the right one.
struct Pair {
    what: String,
    found: f64,
    right: f64,
    /// The difference is measured by the right number's size, or by this where it is smaller.
    least_size: f64,
}

/// Prints the largest difference, and fails where it is above the tolerance.
fn compare(case: &Case, quantity: &str, tolerance: f64, pairs: impl IntoIterator<Item = Pair>) {
    let difference = |pair: &Pair| (pair.found - pair.right).abs() / pair.right.abs().max(pair.least_size);
    let by_difference = |one: &Pair, other: &Pair| difference(one).total_cmp(&difference(other));
    let Pair { what, found, right, least_size } =
        pairs.into_iter().max_by(by_difference).expect("something to compare");
    let largest = difference(&Pair { what: String::new(), found, right, least_size });
    println!("reference | {} | {quantity} | {largest:.1e} | {tolerance:.0e}", case.name);
    assert!(largest <= tolerance, "{}, {quantity}, {what}: {found} where {right} is right", case.name);
}
