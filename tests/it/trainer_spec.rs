//! What the fields of a spec do to the weights that a student of a folder ends with.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::{Value, json};
use stepwise::domain::{AttemptSpec, AttemptStudent, Method, Optimizer, Precision};
use tch::Tensor;
use tempfile::TempDir;

use crate::support::attempt::{Attempt, figures, row};

/// A student with a tokenizer of its own, whose config drops a fifth.
struct Student(TempDir);

impl Student {
    fn new() -> Self {
        let attempt = Attempt::new();
        attempt.train().0.unwrap();
        let student = Self(attempt.folder);
        let path = student.directory().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["dropout_rate"] = json!(0.2);
        fs::write(path, config.to_string()).unwrap();
        student
    }

    fn directory(&self) -> PathBuf {
        self.0.path().join("checkpoint")
    }

    /// An attempt at this student in fp32, which drops nothing unless it is told to.
    fn attempt(&self, change: impl Fn(&mut AttemptSpec)) -> Attempt {
        let mut attempt = Attempt::new();
        attempt.spec.student = AttemptStudent::Directory(self.directory().to_str().unwrap().to_owned());
        let knobs = &mut attempt.spec.hyperparameters;
        (knobs.precision, knobs.dropout, knobs.learning_rate) = (Precision::Fp32, Some(0.0), Some(1e-2));
        change(&mut attempt.spec);
        attempt
    }

    /// The weights after such a training.
    fn learned(&self, change: impl Fn(&mut AttemptSpec)) -> BTreeMap<String, Tensor> {
        weights(&self.attempt(change))
    }
}

fn weights(attempt: &Attempt) -> BTreeMap<String, Tensor> {
    attempt.train().0.unwrap();
    let path = attempt.folder.path().join("checkpoint/model.safetensors");
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

/// The largest difference of any weight.
fn difference(one: &BTreeMap<String, Tensor>, other: &BTreeMap<String, Tensor>) -> f64 {
    let off = |(name, weight): (&String, &Tensor)| (weight - &other[name]).abs().max().double_value(&[]);
    one.iter().map(off).fold(0.0, f64::max)
}

#[test]
fn alpha_is_the_weight_of_the_labels_and_the_rest_that_of_the_rationales() {
    let mut attempt = Attempt::new();
    (attempt.spec.alpha, attempt.spec.hyperparameters.log_every) = (0.25, 1);
    let (outcome, frames) = attempt.train();
    outcome.unwrap();
    let found = figures(&frames);
    for step in 1..=4 {
        let [loss, label, rationale] =
            ["loss", "label_loss", "rationale_loss"].map(|name| found[&(step, name.to_owned())]);
        assert!((label - rationale).abs() > 1e-3, "losses of {label} and {rationale} would not tell");
        assert!((loss - 0.25 * label - 0.75 * rationale).abs() < 1e-4, "{loss} of {label} and {rationale}");
    }
}

#[test]
fn with_an_alpha_of_1_the_labels_alone_are_learned() {
    let student = Student::new();
    let labels_alone = student.learned(|spec| spec.alpha = 1.0);
    let standard = student.learned(|spec| spec.method = Method::Standard);
    let both = student.learned(|_| ());
    let (off, apart) = (difference(&labels_alone, &standard), difference(&labels_alone, &both));
    assert!(off < 1e-4 && apart > 1e-2, "{off}, {apart}");
}

#[test]
fn several_training_files_are_learned_as_one() {
    let student = Student::new();
    let attempt = student.attempt(|spec| spec.training = vec!["a.jsonl".to_owned(), "b.jsonl".to_owned()]);
    attempt.write("a.jsonl", (0..40).map(row));
    attempt.write("b.jsonl", (40..64).map(row));
    let off = difference(&weights(&attempt), &student.learned(|_| ()));
    assert!(off == 0.0, "{off}");
    let first_alone = student.attempt(|spec| spec.training = vec!["a.jsonl".to_owned()]);
    first_alone.write("a.jsonl", (0..40).map(row));
    assert!(difference(&weights(&attempt), &weights(&first_alone)) > 1e-3);
}

#[test]
fn the_prefixes_that_are_asked_for_are_learned_and_published() {
    let student = Student::new();
    let attempt = student.attempt(|spec| {
        (spec.label_prefix, spec.rationale_prefix) = ("[label] ".to_owned(), "[rationale] ".to_owned());
    });
    assert!(difference(&weights(&attempt), &student.learned(|_| ())) > 1e-3);
    let card: Value = serde_json::from_slice(&attempt.checkpoint()["stepwise.json"]).unwrap();
    assert_eq!(
        (&card["label_prefix"], &card["rationale_prefix"]),
        (&json!("[label] "), &json!("[rationale] ")),
        "{card}"
    );
}

#[test]
fn dropout_is_the_configs_unless_it_is_given() {
    let student = Student::new();
    let learned = |dropout| student.learned(|spec| spec.hyperparameters.dropout = dropout);
    let by_config = learned(None);
    assert!(difference(&by_config, &learned(Some(0.2))) == 0.0);
    assert!(difference(&by_config, &learned(Some(0.0))) > 1e-3);
}

#[test]
fn a_student_learns_in_bf16_what_it_learns_in_fp32_and_keeps_its_weights_in_fp32() {
    let student = Student::new();
    let in_bf16 = student.learned(|spec| spec.hyperparameters.precision = Precision::Bf16);
    let in_fp32 = student.learned(|_| ());
    let before = Tensor::read_safetensors(student.directory().join("model.safetensors")).unwrap().into_iter().collect();
    // Adam's steps have the sign of the gradient: where that is about 0, they part by their whole size.
    let distance = |one: &BTreeMap<String, Tensor>, other: &BTreeMap<String, Tensor>| {
        let off = |(name, weight): (&String, &Tensor)| (weight - &other[name]).square().sum(None).double_value(&[]);
        one.iter().map(off).sum::<f64>().sqrt()
    };
    let (apart, moved) = (distance(&in_bf16, &in_fp32), distance(&in_fp32, &before));
    assert!(apart < 0.3 * moved && apart > 0.0, "{apart} of {moved}");
    assert!(in_bf16.values().all(|weight| weight.kind() == tch::Kind::Float));
}

#[test]
fn a_step_that_teaches_nothing_is_taken() {
    for optimizer in [Optimizer::Adamw, Optimizer::Adafactor] {
        let mut attempt = Attempt::new();
        // The labels count for nothing, and half of the rows have no rationale.
        let bare = |number: usize| {
            let mut row = row(number);
            if number.is_multiple_of(2) {
                row.as_object_mut().unwrap().remove("rationale");
            }
            row
        };
        attempt.write("training.jsonl", (0..64).map(bare));
        (attempt.spec.alpha, attempt.spec.max_dropped_ratio) = (0.0, 1.0);
        let knobs = &mut attempt.spec.hyperparameters;
        (knobs.optimizer, knobs.batch_size, knobs.max_steps, knobs.eval_steps) = (optimizer, 1, Some(12), 12);
        assert_eq!(attempt.train().0.unwrap().steps, 12);
    }
}
