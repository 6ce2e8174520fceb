//! Reads every real completion of the paper's teacher and compares the accuracies with the published ones. The rows lie
//! outside the repository (some may not be redistributed); without them the test says so and passes.

use std::path::PathBuf;

use stepwise::domain::AnswerForm;
use stepwise::task::{answer, builtin, scoring};

use crate::support::shared::shared;

/// The teacher's label accuracy on one file, in percent, from the raw text of its completions.
fn teacher_accuracy(path: PathBuf, task: &str) -> f64 {
    let task = builtin::find(task).unwrap();
    let lines = std::fs::read_to_string(path).unwrap();
    let (mut rows, mut correct) = (0, 0);
    for line in lines.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| row[field].as_str().unwrap();
        let label = answer::parse(&task, AnswerForm::default(), text("input"), text("llm_output"), false).label;
        rows += 1;
        correct += i32::from(label.is_some_and(|label| scoring::is_correct(&task, &label, text("label"))));
    }
    100.0 * f64::from(correct) / f64::from(rows)
}

#[test]
fn the_teachers_published_accuracies_come_out_of_its_raw_text() {
    let Some(data) = shared("data") else { return };
    let found: Vec<_> = EXPECTED
        .iter()
        .map(|&(file, task, expected)| (file, teacher_accuracy(data.join(file), task), expected))
        .collect();
    assert!(found.iter().all(|(_, accuracy, expected)| (accuracy - expected).abs() <= 0.0051), "{found:#?}");
}

/// File, task, accuracy in percent rounded to two places.
const EXPECTED: [(&str, &str, f64); 8] = [
    ("esnli/test.jsonl", "esnli", 72.99),
    ("esnli/valid.jsonl", "esnli", 73.17),
    ("anli1/test.jsonl", "anli", 65.60),
    ("anli1/valid.jsonl", "anli", 66.80),
    ("cqa/test.jsonl", "cqa", 77.23),
    ("cqa/train.jsonl", "cqa", 74.26),
    ("svamp/test.jsonl", "svamp", 74.00),
    ("svamp/train.jsonl", "svamp", 73.25),
];
