//! Tiny students in folders.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};
use stepwise::{
    domain::{LabelSet, StudentCard, TaskDefinition},
    student::{StudentTokenizer, T5Config, initial_weights, save_checkpoint, unigram},
};

use super::app::TestApp;

/// Writes a student that knows nothing, but answers.
pub fn write_student(app: &TestApp, name: &str, label_set: LabelSet) {
    write_seeded_student(app, name, label_set, 7);
}

/// The same with weights of their own, so that it answers otherwise.
pub fn write_seeded_student(app: &TestApp, name: &str, label_set: LabelSet, seed: u64) {
    write_student_to(&app.models_dir.join(name), label_set, seed);
}

/// The same in any folder.
pub fn write_student_to(folder: &Path, label_set: LabelSet, seed: u64) {
    let texts = ["predict: the order came late so it is a refund", "explain: reject exchange because of the rule"];
    let tokenizer = StudentTokenizer::from_tokenizer(unigram::train_tokenizer(texts, 100).unwrap()).unwrap();
    let config: T5Config = serde_json::from_value(json!({
        "vocab_size": tokenizer.vocabulary_size(), "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2,
    }))
    .unwrap();
    let task = TaskDefinition { name: "returns".to_owned(), label_set, ..TaskDefinition::default() };
    let card = StudentCard { task, max_label_length: 4, max_rationale_length: 6, ..StudentCard::default() };
    save_checkpoint(folder, &config, &initial_weights(&config, seed), &tokenizer, &card).unwrap();
}

/// Writes the first random student to a folder that says more than one thing and does not stop by itself, as is seen by the
/// completions that a service says are its.
pub async fn write_talker(folder: &Path, label_set: LabelSet, said: impl AsyncFn() -> Value) {
    let talks = |choice: &Value| {
        let letters: BTreeSet<char> = choice["text"].as_str().unwrap().chars().collect();
        choice["finish_reason"] == "length" && letters.len() > 3
    };
    for seed in 0..500 {
        write_student_to(folder, label_set.clone(), seed);
        if said().await["choices"].as_array().unwrap().iter().all(talks) {
            return;
        }
    }
    panic!("every random student stops at once");
}

/// The labels of the returns desk.
pub fn desk_labels() -> LabelSet {
    LabelSet::Fixed(["refund", "exchange", "reject"].map(str::to_owned).to_vec())
}
