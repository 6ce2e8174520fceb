//! Reads every real completion of the paper's teacher and compares the accuracies with the published ones.

use std::collections::BTreeMap;

use serde_json::Value;
use stepwise::{
    domain::{AnnotationStatus, AnswerForm, TaskDefinition},
    task::{answer, answer::ParsedAnswer, builtin, scoring},
};

use crate::support::{
    real_rows::{FILES, rows, text},
    shared::shared,
};

/// What one file comes to.
#[derive(Debug, PartialEq)]
struct Found {
    file: &'static str,
    /// The teacher's label accuracy in percent; an answer that did not parse counts as wrong.
    accuracy: String,
    valid: usize,
    invalid: usize,
}

fn read(task: &TaskDefinition, row: &Value) -> ParsedAnswer {
    answer::parse(task, AnswerForm::RationaleThenLabel, text(row, "input"), text(row, "llm_output"), false)
}

#[test]
fn the_teachers_published_accuracies_come_out_of_its_raw_text() {
    let Some(folder) = shared("data") else { return };
    let of_file = |(file, name): (&'static str, &str)| {
        let (task, rows) = (builtin::find(name).unwrap(), rows(folder.join(file)));
        let read: Vec<_> = rows.iter().map(|row| (read(&task, row), text(row, "label"))).collect();
        let is_right = |(answer, truth): &&(ParsedAnswer, &str)| {
            answer.label.as_ref().is_some_and(|label| scoring::is_correct(&task, label, truth))
        };
        let count = |status| read.iter().filter(|(answer, _)| answer.status == status).count();
        let accuracy = 100.0 * read.iter().filter(is_right).count() as f64 / rows.len() as f64;
        let (valid, invalid) = (count(AnnotationStatus::Valid), count(AnnotationStatus::Invalid));
        assert_eq!(valid + invalid, rows.len(), "{file}: nobody refused and nothing was cut off before its label");
        Found { file, accuracy: format!("{accuracy:.2}"), valid, invalid }
    };
    let found: Vec<Found> = FILES.into_iter().map(of_file).collect();
    let expected =
        EXPECTED.map(|(file, accuracy, valid, invalid)| Found { file, accuracy: accuracy.to_owned(), valid, invalid });
    assert_eq!(found, expected);
}

/// File, accuracy in percent as the research code finds it, answers of each status.
const EXPECTED: [(&str, &str, usize, usize); 8] = [
    ("esnli/test.jsonl", "72.99", 9824, 0),
    ("esnli/valid.jsonl", "73.17", 9838, 4),
    ("anli1/test.jsonl", "65.60", 990, 10),
    ("anli1/valid.jsonl", "66.80", 991, 9),
    ("cqa/test.jsonl", "77.23", 1175, 46),
    ("cqa/train.jsonl", "74.26", 9294, 447),
    ("svamp/test.jsonl", "74.00", 193, 7),
    ("svamp/train.jsonl", "73.25", 766, 34),
];

/// What the research code read from the same text stands in each row. Ours differs where that can never be right (empty,
/// outside the set, without a value), and is then invalid; nowhere else, in label or rationale.
#[test]
fn each_answer_is_read_as_the_research_code_reads_it_or_refused_with_a_reason() {
    let Some(folder) = shared("data") else { return };
    let mut strange = BTreeMap::new();
    for (file, name) in FILES {
        let task = builtin::find(name).unwrap();
        for row in rows(folder.join(file)) {
            let (answer, theirs) = (read(&task, &row), text(&row, "llm_label"));
            let as_expected = match (&answer.label, &answer.reason) {
                (Some(label), None) => {
                    label == theirs && answer.rationale.as_deref().unwrap_or_default() == text(&row, "rationale")
                }
                (None, Some(reason)) => {
                    !reason.is_empty() && !scoring::is_readable(&task, text(&row, "input"), theirs.trim())
                }
                _ => false,
            };
            if !as_expected {
                let rows: &mut Vec<String> = strange.entry(file).or_default();
                rows.push(format!("{}: {theirs:?} {:?} {answer:?}", text(&row, "id"), text(&row, "rationale")));
            }
        }
    }
    let counts: BTreeMap<_, _> = strange.iter().map(|(file, rows)| (*file, rows.len())).collect();
    let shown: Vec<_> = strange.values().flat_map(|rows| rows.iter().take(5)).collect();
    assert_eq!(counts, BTreeMap::new(), "{shown:#?}");
}
