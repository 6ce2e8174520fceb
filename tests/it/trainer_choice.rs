//! What a training goes by: which rows it may learn, which exams choose its weights and end it, and which decide nothing.

use std::path::PathBuf;

use serde_json::{Value, json};
use stepwise::{
    domain::{AttemptValidation, Frame, Method, TaskDefinition},
    task::builtin,
    trainer::Ended,
};

use crate::support::attempt::{Attempt, figures, row, snapshots};

fn event<'a>(frames: &'a [Frame], wanted: &str) -> Option<&'a Value> {
    frames.iter().find_map(|frame| match frame {
        Frame::Event { code, data, .. } if code == wanted => Some(data),
        _ => None,
    })
}

/// A training of a student that has learned, whose rate rises until that is lost again.
fn rising(learned: &Attempt) -> Attempt {
    let mut attempt = Attempt::new();
    attempt.continue_from(learned);
    attempt.spec.test = Some("test.jsonl".to_owned());
    attempt.write("test.jsonl", (64..80).map(row));
    let knobs = &mut attempt.spec.hyperparameters;
    (knobs.max_steps, knobs.eval_steps, knobs.checkpoint_every, knobs.log_every) = (Some(30), 3, 3, 4);
    (knobs.learning_rate, knobs.warmup_steps) = (Some(0.6), 30);
    attempt
}

fn weights(attempt: &Attempt, folder: &str) -> Vec<u8> {
    std::fs::read(attempt.folder.path().join(folder).join("model.safetensors")).unwrap()
}

/// Steps and accuracies of the exams.
fn exams(frames: &[Frame]) -> Vec<(i64, f64)> {
    let of_exam = |((step, name), value): (&(i64, String), &f64)| (name == "label_accuracy").then_some((*step, *value));
    figures(frames).iter().filter_map(of_exam).collect()
}

fn best_of(accuracies: &[f64]) -> f64 {
    accuracies.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

#[test]
fn a_training_stops_when_its_exams_become_no_better_and_keeps_the_best_weights() {
    let learned = Attempt::learned();
    let (whole, mut patient) = (rising(&learned), rising(&learned));
    patient.spec.hyperparameters.early_stopping_patience = Some(3);
    let (_, all) = whole.train();
    let (outcome, frames) = patient.train();
    let outcome = outcome.unwrap();
    let stopped = outcome.stopped_early_at.expect("it stops early");
    assert!(stopped < 30 && outcome.steps == stopped, "{outcome:?}");
    let exams = exams(&frames);
    let accuracies: Vec<f64> = exams.iter().map(|(_, accuracy)| *accuracy).collect();
    let (before, waited) = accuracies.split_at(accuracies.len() - 3);
    assert!(best_of(waited) <= best_of(before), "three exams in a row were no better: {exams:?}");
    for end in 4..accuracies.len() {
        let (before, waited) = accuracies[..end].split_at(end - 3);
        assert!(best_of(waited) > best_of(before), "it would have stopped after {end} exams: {exams:?}");
    }
    // Of exams that are as good, the last.
    let best = exams.iter().rfind(|(_, accuracy)| *accuracy == best_of(&accuracies)).unwrap();
    assert_eq!((exams.last().unwrap().0, outcome.best_step), (stopped, best.0), "{exams:?}");
    assert_eq!(event(&frames, "stopped_early").unwrap()["step"], stopped);
    let progress =
        |frame: &Frame| matches!(frame, Frame::Progress { step, total } if *step == stopped && step == total);
    assert!(frames.iter().any(progress), "its progress is not done: {frames:?}");
    assert!(weights(&patient, "checkpoint") == weights(&patient, &format!("checkpoint-{}", outcome.best_step)));
    // Up to there it is the training that would have gone on: the course of its rate is that of all steps.
    let (all, until_then) = (figures(&all), figures(&frames));
    let last = until_then.keys().filter(|(_, name)| name == "loss").map(|(step, _)| *step).max();
    assert_eq!(last, Some(stopped), "the last steps' figures are missing: {until_then:?}");
    for (key, value) in until_then.iter().filter(|((step, _), _)| step % 4 == 0) {
        assert_eq!(all.get(key), Some(value), "{key:?}");
    }
}

#[test]
fn an_interruption_costs_no_patience() {
    let learned = Attempt::learned();
    let (mut whole, mut parts) = (rising(&learned), rising(&learned));
    for attempt in [&mut whole, &mut parts] {
        attempt.spec.hyperparameters.early_stopping_patience = Some(3);
    }
    let outcome = whole.train().0.unwrap();
    let stopped = outcome.stopped_early_at.unwrap();
    // Stopped after one exam that was no better, and again when nothing but the test rows was left.
    for at in [stopped - 6, stopped] {
        let enough = |frame: &Frame| matches!(frame, Frame::Metrics { step, values } if *step == at && values.contains_key("label_accuracy"));
        let (ended, frames) = parts.train_until(enough);
        assert!(matches!(ended, Ok(Ended::Stopped)), "{ended:?}");
        parts.spec.resume = Some(snapshots(&frames).pop().unwrap().1);
    }
    let (resumed, frames) = parts.train();
    let resumed = resumed.unwrap();
    assert_eq!((resumed.stopped_early_at, resumed.best_step), (Some(stopped), outcome.best_step));
    assert!(frames.contains(&Frame::Progress { step: stopped, total: stopped }), "{frames:?}");
    assert!(weights(&whole, "checkpoint") == weights(&parts, "checkpoint"));
}

#[test]
fn test_rows_decide_nothing() {
    let learned = Attempt::learned();
    let (first, second) = (rising(&learned), rising(&learned));
    let swapped = |number: usize| {
        let mut row = row(number + 1);
        row["input"] = json!(format!("an input that no other row has, {number}"));
        row
    };
    second.write("test.jsonl", (0..7).map(swapped));
    let ((outcome, frames), (other, other_frames)) = (first.train(), second.train());
    let (outcome, other) = (outcome.unwrap(), other.unwrap());
    assert_ne!(outcome.test_accuracy, other.test_accuracy, "the test rows differ too little to show anything");
    assert_eq!((outcome.best_step, outcome.validation_accuracy), (other.best_step, other.validation_accuracy));
    assert_eq!(figures(&frames), figures(&other_frames));
    assert!(weights(&first, "checkpoint") == weights(&second, "checkpoint"));
    // No frame but the last one knows them.
    let tells = |frame: &&Frame| serde_json::to_string(frame).unwrap().contains("no other row has");
    assert_eq!(other_frames.iter().filter(tells).count(), 0);
}

/// The folder of real rows, where this machine has it.
fn data() -> Option<PathBuf> {
    let shared = std::env::var_os("STEPWISE_SHARED").map(PathBuf::from);
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    Some(shared.unwrap_or_else(beside).join("data")).filter(|data| data.is_dir())
}

/// A short training on real rows with the teacher's labels as `label` gives them.
fn on_real_rows(file: PathBuf, task: TaskDefinition, label: impl Fn(&Value) -> Value) -> Attempt {
    let mut attempt = Attempt::new();
    (attempt.spec.task, attempt.spec.method) = (task, Method::Standard);
    attempt.spec.validation = AttemptValidation::File("validation.jsonl".to_owned());
    attempt.write("validation.jsonl", std::iter::once(json!({"input": "a", "label": "b"})));
    attempt.spec.hyperparameters.max_steps = Some(1);
    let lines = std::fs::read_to_string(file).unwrap();
    let rows = lines.lines().map(|line| {
        let row: Value = serde_json::from_str(line).unwrap();
        json!({"id": row["id"], "input": row["input"], "teacher_label": label(&row)})
    });
    attempt.write("training.jsonl", rows);
    attempt
}

#[test]
fn real_rows_whose_labels_did_not_parse_are_counted_and_too_many_refuse_the_training() {
    let Some(data) = data() else {
        println!("skipped: no folder of real rows; set STEPWISE_SHARED to the folder that holds data/");
        return;
    };
    // 34 of 800 labels of SVAMP have no value, of which 13 are blank.
    let svamp = |ratio| {
        let read = |row: &Value| row["llm_label"].clone();
        let mut attempt = on_real_rows(data.join("svamp/train.jsonl"), builtin::find("svamp").unwrap(), read);
        attempt.spec.max_dropped_ratio = ratio;
        attempt
    };
    let error = svamp(0.01).train().0.unwrap_err();
    assert_eq!(error.code, "too_many_dropped_rows");
    for words in ["34 of 800", "no_label: 13", "label_without_value: 21", "(28 - 13) and (28 - 15)", "chal-863"] {
        assert!(error.message.contains(words), "{words} is not in: {}", error.message);
    }
    // A parser that keeps what follows the answer, as the one did that trained to a loss of 0 and an accuracy of 0.
    let tail = |row: &Value| {
        let output = row["llm_output"].as_str().unwrap();
        let after = output.split("Answer: ").nth(1).unwrap_or(" ");
        json!(after.chars().take(15).collect::<String>())
    };
    let attempt = on_real_rows(data.join("esnli/valid.jsonl"), builtin::find("esnli").unwrap(), tail);
    let error = attempt.train().0.unwrap_err();
    assert_eq!(error.code, "too_many_dropped_rows");
    assert!(error.message.contains("of 9842") && error.message.contains(r"neutral\n\nPremis"), "{}", error.message);
}
