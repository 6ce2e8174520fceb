//! Real rows of the paper's benchmarks with the raw completions of its teacher. They lie outside the repository (some may not
//! be redistributed); where they are not, a test that wants them says so and passes.

use std::path::PathBuf;

use serde_json::Value;

/// Every file with the task that reads it.
pub const FILES: [(&str, &str); 8] = [
    ("esnli/test.jsonl", "esnli"),
    ("esnli/valid.jsonl", "esnli"),
    ("anli1/test.jsonl", "anli"),
    ("anli1/valid.jsonl", "anli"),
    ("cqa/test.jsonl", "cqa"),
    ("cqa/train.jsonl", "cqa"),
    ("svamp/test.jsonl", "svamp"),
    ("svamp/train.jsonl", "svamp"),
];

/// The rows of one of the files.
pub fn rows(path: PathBuf) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A field of a row.
pub fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap()
}
