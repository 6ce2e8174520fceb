//! The demo's generated task: every rule is covered, the answer cannot be read off one token, and the teacher is wrong
//! as often as it says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use stepwise::domain::{AnnotationStatus, AnswerForm, TaskDefinition};
use stepwise::survey::Surveyor;
use stepwise::task::{answer, majority::Majority};

/// What names each of the seven rules at the end of a rationale.
const RULES: [&str; 7] = [
    "late returns",
    "wrong items",
    "damaged items",
    "final sale",
    "missing receipts",
    "opened electronics",
    "normal returns",
];
const SPLITS: [&str; 3] = ["unlabeled.jsonl", "labeled.jsonl", "test.jsonl"];

fn generate(folder: &Path, seed: &str) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/returns_desk/generate.py");
    let done = Command::new("python3").arg(script).arg(folder).args(["--seed", seed]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn rows(path: PathBuf) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap()
}

fn task(folder: &Path) -> TaskDefinition {
    serde_json::from_str(&std::fs::read_to_string(folder.join("task.json")).unwrap()).unwrap()
}

/// The right rule and label of an input, computed a second time from its words.
fn decide(input: &str) -> (&'static str, &'static str) {
    let has = |part: &str| input.contains(part);
    let member = has("A member") || has("A club member") || has("who is a member");
    let days: u32 = input.split(" days ago").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    let receipt = has("receipt is here") || has("kept the receipt") || has("show a receipt");
    let electronics = ["laptop", "phone", "camera", "tablet", "printer", "radio", "monitor", "speaker"];
    let opened = has("box is open") || has("was opened and") || has("seal is broken");
    match () {
        () if days > if member { 60 } else { 30 } => ("late returns", "reject"),
        () if has("wrong item") || has("not the item") || has("Another item") => ("wrong items", "refund"),
        () if has("damaged") || has("crack") => ("damaged items", if receipt { "refund" } else { "exchange" }),
        () if has("final sale") => ("final sale", "reject"),
        () if !receipt => ("missing receipts", if member { "exchange" } else { "reject" }),
        () if opened && electronics.iter().any(|&item| has(item)) => ("opened electronics", "exchange"),
        () => ("normal returns", "refund"),
    }
}

fn majority(labels: &[&str]) -> usize {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    labels.iter().for_each(|&label| *counts.entry(label).or_default() += 1);
    counts.into_values().max().unwrap_or_default()
}

/// Accuracy of the best rule "this token is there: one label; it is not: another label".
fn best_single_token(inputs: &[&str], labels: &[&str]) -> f64 {
    let tokens: Vec<BTreeSet<&str>> = inputs.iter().map(|input| input.split_whitespace().collect()).collect();
    let vocabulary: BTreeSet<&str> = tokens.iter().flatten().copied().collect();
    let correct = vocabulary.iter().map(|token| {
        let (with, without): (Vec<_>, Vec<_>) = (0..labels.len()).partition(|&row| tokens[row].contains(token));
        let right = |rows: Vec<usize>| majority(&rows.into_iter().map(|row| labels[row]).collect::<Vec<_>>());
        right(with) + right(without)
    });
    correct.max().unwrap_or_default() as f64 / labels.len() as f64
}

#[test]
fn every_rule_decides_rows_in_each_split_and_no_label_is_a_majority() {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), "1");
    for split in SPLITS {
        let rows = rows(folder.path().join(split));
        let mut shares: BTreeMap<&str, usize> = RULES.map(|rule| (rule, 0)).into();
        rows.iter().for_each(|row| *shares.entry(decide(text(row, "input")).0).or_default() += 1);
        assert!(shares.values().all(|&count| count * 20 >= rows.len()), "{split}: {shares:?}");
        let (task, mut majority) = (task(folder.path()), Majority::default());
        rows.iter().for_each(|row| majority.add(&task, decide(text(row, "input")).1));
        let share = majority.accuracy();
        assert!(share < 0.45, "{split}: {share}");
    }
}

#[test]
fn labels_and_rationales_follow_the_policy() {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), "2");
    for row in rows(folder.path().join("labeled.jsonl")) {
        let (rule, label) = decide(text(&row, "input"));
        assert_eq!(text(&row, "label"), label, "{row}");
        assert!(text(&row, "rationale").ends_with(&format!("The rule for {rule} decides.")), "{row}");
    }
    for row in rows(folder.path().join("test.jsonl")) {
        assert_eq!(text(&row, "label"), decide(text(&row, "input")).1, "{row}");
    }
}

#[test]
fn the_answer_cannot_be_read_off_one_token() {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), "1");
    let rows = rows(folder.path().join("unlabeled.jsonl"));
    let inputs: Vec<_> = rows.iter().map(|row| text(row, "input")).collect();
    let labels: Vec<_> = inputs.iter().map(|input| decide(input).1).collect();
    let share = majority(&labels) as f64 / labels.len() as f64;
    let best = best_single_token(&inputs, &labels);
    assert!(best <= share + 0.25, "one token decides {best:.3}, the majority {share:.3}");
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_other_rows() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    for (folder, seed) in folders.iter().zip(["7", "7", "8"]) {
        generate(folder.path(), seed);
    }
    let bytes = |folder: usize, file: &str| std::fs::read(folders[folder].path().join(file)).unwrap();
    for file in SPLITS.into_iter().chain(["answers.jsonl", "task.json"]) {
        assert_eq!(bytes(0, file), bytes(1, file), "{file}");
        assert!(file == "task.json" || bytes(0, file) != bytes(2, file), "{file}");
    }
}

#[test]
fn no_input_comes_twice_and_each_file_is_a_valid_upload() {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), "1");
    let mut seen: BTreeSet<String> =
        task(folder.path()).worked_examples.into_iter().map(|example| example.input).collect();
    for split in SPLITS {
        let path = folder.path().join(split);
        let mut surveyor = Surveyor::new(folder.path());
        surveyor.push(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(surveyor.finish().unwrap().validation.errors, []);
        for row in rows(path) {
            assert!(seen.insert(text(&row, "input").to_owned()), "{row}");
        }
    }
}

#[test]
fn the_teacher_is_wrong_in_eight_percent_and_unreadable_in_one() {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), "1");
    let task = task(folder.path());
    let answers = rows(folder.path().join("answers.jsonl"));
    let (mut wrong, mut unreadable) = (0.0, 0.0);
    for row in &answers {
        let (input, output) = (text(row, "input"), text(row, "llm_output"));
        let parsed = answer::parse(&task, AnswerForm::default(), input, output, false);
        match parsed.label {
            Some(label) => wrong += f64::from(u8::from(label != decide(input).1)),
            None => unreadable += 1.0,
        }
        let read = parsed.rationale.unwrap_or_default();
        assert!(parsed.status != AnnotationStatus::Valid || read.ends_with(" decides."), "{read}");
    }
    let count = answers.len() as f64;
    assert!((0.065..0.095).contains(&(wrong / count)), "{}", wrong / count);
    assert!((0.004..0.018).contains(&(unreadable / count)), "{}", unreadable / count);
}

#[test]
fn the_configuration_beside_the_generator_is_the_one_that_it_writes() {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), "1");
    let written = std::fs::read_to_string(folder.path().join("stepwise.toml")).unwrap();
    let kept = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/returns_desk/stepwise.toml");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), written);
    let parsed: toml::Table = written.parse().unwrap();
    let tasks: Vec<TaskDefinition> = parsed["tasks"].clone().try_into().unwrap();
    assert_eq!(tasks, [task(folder.path())]);
}
