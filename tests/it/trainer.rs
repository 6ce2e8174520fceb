//! The trainer, by what it leaves behind.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use stepwise::domain::{
    AttemptValidation, Frame, Hyperparameters, LabelSet, LearnedTexts, Method, PartLengths, Precision, Truncated,
};
use stepwise::student::StudentTokenizer;

use crate::support::attempt::{Attempt, events, row};

#[test]
fn the_same_spec_and_seed_give_the_same_bytes() {
    let (first, second, mut other) = (Attempt::new(), Attempt::new(), Attempt::new());
    other.spec.hyperparameters.seed = 1;
    for attempt in [&first, &second, &other] {
        attempt.train().0.unwrap();
    }
    assert_eq!(first.checkpoint(), second.checkpoint());
    assert_ne!(first.checkpoint()["model.safetensors"], other.checkpoint()["model.safetensors"]);
}

/// The largest difference of any weight after two trainings in fp32.
fn difference(one: impl Fn(&mut Hyperparameters), other: impl Fn(&mut Hyperparameters)) -> f64 {
    let weights = |change: &dyn Fn(&mut Hyperparameters)| {
        let mut attempt = Attempt::new();
        attempt.spec.hyperparameters.precision = Precision::Fp32;
        change(&mut attempt.spec.hyperparameters);
        attempt.train().0.unwrap();
        let path = attempt.folder.path().join("checkpoint/model.safetensors");
        tch::Tensor::read_safetensors(path).unwrap().into_iter().collect::<BTreeMap<_, _>>()
    };
    let other = weights(&other);
    let off = |(name, weight): (String, tch::Tensor)| (weight - &other[&name]).abs().max().double_value(&[]);
    weights(&one).into_iter().map(off).fold(0.0, f64::max)
}

#[test]
fn micro_batches_do_not_change_the_mathematics() {
    for weight in [0.0, 0.5] {
        let whole = |knobs: &mut Hyperparameters| {
            (knobs.dropout, knobs.mutual_information_weight) = (Some(0.0), weight);
        };
        let parts = |knobs: &mut Hyperparameters| {
            whole(knobs);
            knobs.micro_batch_size = Some(3);
        };
        let off = difference(whole, parts);
        assert!(off < 1e-4, "{off}");
    }
}

#[test]
fn gradient_checkpointing_does_not_change_the_mathematics() {
    // With dropout: what is computed again must drop the same numbers.
    let whole = |knobs: &mut Hyperparameters| knobs.dropout = Some(0.2);
    let layer_by_layer = |knobs: &mut Hyperparameters| {
        whole(knobs);
        (knobs.gradient_checkpointing, knobs.micro_batch_size) = (true, Some(5));
    };
    let parts = |knobs: &mut Hyperparameters| {
        whole(knobs);
        knobs.micro_batch_size = Some(5);
    };
    let off = difference(parts, layer_by_layer);
    assert!(off < 1e-4, "{off}");
    assert!(difference(whole, |knobs| knobs.dropout = Some(0.0)) > 1e-2);
}

#[test]
fn the_mutual_information_of_label_and_rationale_counts_when_it_is_asked_for() {
    let reported = |weight| {
        let mut attempt = Attempt::new();
        attempt.spec.hyperparameters.mutual_information_weight = weight;
        let (outcome, frames) = attempt.train();
        outcome.unwrap();
        let values = |frame: &Frame| match frame {
            Frame::Metrics { values, .. } => values.get("mutual_information_loss").copied(),
            _ => None,
        };
        frames.iter().filter_map(values).collect::<Vec<f64>>()
    };
    assert_eq!(reported(0.0), Vec::<f64>::new());
    let losses = reported(0.1);
    assert!(!losses.is_empty() && losses.iter().all(|loss| loss.is_finite() && *loss > 0.0), "{losses:?}");
    let off = difference(|knobs| knobs.mutual_information_weight = 0.5, |_| ());
    assert!(off > 1e-3, "{off}");
}

#[test]
fn every_method_learns_a_simple_rule() {
    for method in [Method::StepByStep, Method::Standard, Method::RationaleThenLabel] {
        let mut attempt = Attempt::new();
        attempt.spec.method = method;
        attempt.spec.test = Some("test.jsonl".to_owned());
        attempt.write("test.jsonl", (64..96).map(row));
        let hyperparameters = &mut attempt.spec.hyperparameters;
        (hyperparameters.max_steps, hyperparameters.eval_steps) = (Some(120), 40);
        (hyperparameters.warmup_steps, hyperparameters.dropout) = (10, Some(0.0));
        let (outcome, frames) = attempt.train();
        let outcome = outcome.unwrap();
        assert!(outcome.test_accuracy >= Some(0.9), "{method:?}: {outcome:?}");
        assert_eq!((outcome.steps, outcome.training_examples), (120, 48));
        let evaluated = frames.iter().filter(|frame| matches!(frame, Frame::Event { code, .. } if code == "evaluated"));
        assert_eq!(evaluated.count(), 3);
    }
}

#[test]
fn metrics_have_the_names_of_the_glossary() {
    let (_, frames) = Attempt::new().train();
    let names: Vec<&String> = frames
        .iter()
        .filter_map(|frame| if let Frame::Metrics { values, .. } = frame { Some(values.keys()) } else { None })
        .flatten()
        .collect();
    for name in [
        "loss",
        "label_loss",
        "rationale_loss",
        "learning_rate",
        "gradient_norm",
        "tokens_per_second",
        "examples_per_second",
        "memory_bytes",
        "skipped_steps",
        "label_accuracy",
    ] {
        assert!(names.iter().any(|found| *found == name), "{name} is not in {names:?}");
    }
}

#[test]
fn rows_that_cannot_be_used_are_counted_by_reason() {
    let mut attempt = Attempt::new();
    attempt.spec.max_dropped_ratio = 0.5;
    let spoiled = |number: usize| {
        let mut row = row(number);
        match number {
            0..4 => row["teacher_label"] = Value::Null,
            4..7 => row["teacher_label"] = json!("store credit"),
            7..9 => row["rationale"] = Value::Null,
            _ => {}
        }
        row.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        row
    };
    attempt.write("training.jsonl", (0..64).map(spoiled));
    let outcome = attempt.train().0.unwrap();
    let expected = [("label_not_in_set", 3), ("label_only", 2), ("no_label", 4)];
    assert_eq!(outcome.dropped, expected.map(|(reason, count)| (reason.to_owned(), count)).into());
    assert_eq!(outcome.training_examples, 43);

    attempt.spec.max_dropped_ratio = 0.1;
    let error = attempt.train().0.unwrap_err();
    assert_eq!(error.code, "too_many_dropped_rows");
    assert!(error.message.contains("7 of 64") && error.message.contains("no_label: 4"), "{}", error.message);
}

#[test]
fn one_file_may_hold_the_rows_of_every_split() {
    let mut attempt = Attempt::new();
    let placed = |number: usize| {
        let mut row = row(number);
        row["split"] = match number {
            0..8 => json!("validation"),
            8..20 => json!("test"),
            20..50 => json!("train"),
            _ => Value::Null,
        };
        row
    };
    attempt.write("training.jsonl", (0..64).map(placed));
    attempt.spec.validation = AttemptValidation::File("training.jsonl".to_owned());
    attempt.spec.test = Some("training.jsonl".to_owned());
    // A process of its own: libtorch's generator is one for all threads, and another test compares bytes.
    fs::write(attempt.folder.path().join("spec.json"), json!(attempt.spec).to_string()).unwrap();
    let output = train_command(attempt.folder.path()).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let frames: Vec<Frame> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let Some(Frame::Finished { outcome }) = frames.last() else { panic!("{frames:?}") };
    assert_eq!(outcome.training_examples, 44, "30 train rows and the 14 without a split");
    // Each reading of the file leaves out what is not its own: 20, 42 and 38 rows.
    assert_eq!(outcome.dropped, [("other_split".to_owned(), 100)].into());
    let counts = frames.iter().find_map(|frame| match frame {
        Frame::Event { data, .. } if data["rows"].is_object() => Some(&data["rows"]),
        _ => None,
    });
    let counts = counts.unwrap();
    assert_eq!((&counts["validation"], &counts["test"]), (&json!(22), &json!(26)), "{counts}");
}

#[test]
fn a_file_that_gives_no_question_is_refused_before_anything_is_learned() {
    let mut attempt = Attempt::new();
    attempt.spec.validation = AttemptValidation::File("asked.jsonl".to_owned());
    attempt.write("asked.jsonl", [json!({"input": "a", "label": "refund", "split": "train"})].into_iter());
    assert_eq!(attempt.train().0.unwrap_err().code, "no_rows_of_split");
    attempt.write("asked.jsonl", [json!({"input": "a"})].into_iter());
    assert_eq!(attempt.train().0.unwrap_err().code, "missing_labels");
    attempt.spec.validation = AttemptValidation::Fraction { fraction: 0.25, seed: 0 };
    attempt.spec.test = Some("asked.jsonl".to_owned());
    assert_eq!(attempt.train().0.unwrap_err().code, "missing_labels");
}

#[test]
fn a_label_set_that_the_student_could_not_choose_from_is_refused() {
    let mut attempt = Attempt::new();
    let labels = ["refund".to_owned(), "reject".to_owned(), "t".repeat(300)];
    attempt.spec.task.label_set = LabelSet::Fixed(labels.to_vec());
    let error = attempt.train().0.unwrap_err();
    assert_eq!(error.code, "label_too_long");
    assert!(error.message.contains("a student weighs 256"), "{}", error.message);
}

/// What the first event of a training tells.
fn announced(frames: &[Frame]) -> &Value {
    let started = frames.iter().find_map(|frame| match frame {
        Frame::Event { code, data, .. } if code == "training_started" => Some(data),
        _ => None,
    });
    started.unwrap()
}

#[test]
fn maximum_lengths_come_from_the_data_and_serving_reads_longer_inputs() {
    let mut attempt = Attempt::new();
    let knobs = &mut attempt.spec.hyperparameters;
    (knobs.max_input_length, knobs.max_label_length, knobs.max_rationale_length) = (None, None, None);
    let (outcome, frames) = attempt.train();
    let outcome = outcome.unwrap();
    let tokenizer = StudentTokenizer::from_dir(&attempt.folder.path().join("checkpoint")).unwrap();
    let longest = |texts: &dyn Fn(&Value) -> Vec<String>| {
        let rows: Vec<Value> = (0..64).map(row).collect();
        let tokens = rows.iter().flat_map(texts).map(|text| tokenizer.encode(&text, usize::MAX).ids.len());
        u32::try_from(tokens.max().unwrap()).unwrap()
    };
    let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    let expected = PartLengths {
        input: longest(&|row| ["predict: ", "explain: "].map(|prefix| prefix.to_owned() + &text(row, "input")).into()),
        label: longest(&|row| vec![text(row, "teacher_label")]),
        rationale: longest(&|row| vec![text(row, "rationale")]),
    };
    assert_eq!(outcome.texts, LearnedTexts { max_lengths: expected, truncated: Truncated::default() });
    let told = announced(&frames);
    assert_eq!((&told["max_lengths"], &told["truncated"]["rows"]), (&json!(expected), &json!(0)));
    let card: Value = serde_json::from_slice(&attempt.checkpoint()["stepwise.json"]).unwrap();
    assert_eq!(card["max_input_length"], 1024, "{card}");
    assert_eq!(
        (&card["max_label_length"], &card["learned"]["max_lengths"]),
        (&json!(2 * expected.label + 4), &json!(expected))
    );
}

#[test]
fn texts_that_were_cut_are_counted_by_part() {
    let mut attempt = Attempt::new();
    let wordy = |number: usize| {
        let mut row = row(number);
        match number {
            0..3 => row["input"] = json!(format!("{} {}", row["input"].as_str().unwrap(), "torn ".repeat(60))),
            3..5 => row["rationale"] = json!("it is torn ".repeat(40)),
            _ => {}
        }
        row
    };
    attempt.write("training.jsonl", (0..64).map(wordy));
    attempt.spec.validation = AttemptValidation::File("asked.jsonl".to_owned());
    attempt.write("asked.jsonl", [json!({"input": "torn ".repeat(60), "label": "refund"})].into_iter());
    attempt.spec.hyperparameters.max_input_length = Some(40);
    let (outcome, frames) = attempt.train();
    let texts = outcome.unwrap().texts;
    let expected = Truncated { inputs: 4, labels: 0, rationales: 2, rows: 6 };
    assert_eq!((texts.truncated, texts.max_lengths.input, texts.max_lengths.rationale), (expected, 40, 16));
    assert_eq!(announced(&frames)["truncated"], json!(expected));
}

#[test]
fn a_target_of_two_parts_keeps_its_label_when_its_rationale_is_cut() {
    let mut attempt = Attempt::new();
    attempt.spec.method = Method::RationaleThenLabel;
    let long = |number: usize| {
        let mut row = row(number);
        row["rationale"] =
            json!(format!("{} and nothing more is to be said of it", row["rationale"].as_str().unwrap()));
        row
    };
    attempt.write("training.jsonl", (0..64).map(long));
    let knobs = &mut attempt.spec.hyperparameters;
    (knobs.max_steps, knobs.eval_steps, knobs.warmup_steps, knobs.dropout) = (Some(120), 40, 10, Some(0.0));
    (knobs.max_rationale_length, knobs.max_label_length) = (Some(6), Some(16));
    let outcome = attempt.train().0.unwrap();
    assert_eq!(outcome.texts.truncated.rationales, 48);
    assert!(outcome.validation_accuracy >= Some(0.9), "{outcome:?}");
}

#[test]
fn an_exam_shows_how_long_texts_begin() {
    let mut attempt = Attempt::new();
    attempt.spec.validation = AttemptValidation::File("asked.jsonl".to_owned());
    attempt.spec.hyperparameters.max_input_length = Some(32);
    attempt.write("asked.jsonl", [json!({"input": "torn ".repeat(100_000), "label": "refund"})].into_iter());
    let (outcome, frames) = attempt.train();
    outcome.unwrap();
    let shown = frames.iter().find_map(|frame| match frame {
        Frame::Event { code, data, .. } if code == "evaluated" => data["predictions"][0]["input"].as_str(),
        _ => None,
    });
    let shown = shown.unwrap();
    assert!(shown.starts_with("torn torn") && shown.ends_with('…') && shown.len() < 400, "{}", shown.len());
}

#[test]
fn a_checkpoint_says_how_good_it_was_and_by_whose_labels() {
    let mut attempt = Attempt::new();
    let labeled = |number: usize| {
        let mut row = row(number);
        if number < 6 {
            row["label"] = row["teacher_label"].clone();
        }
        row
    };
    attempt.write("test.jsonl", (0..10).map(labeled));
    attempt.spec.test = Some("test.jsonl".to_owned());
    attempt.spec.hyperparameters.eval_rows = Some(12);
    attempt.write_spec();
    let output = train_command(attempt.folder.path()).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let card: Value = serde_json::from_slice(&attempt.checkpoint()["stepwise.json"]).unwrap();
    let told = |split: &str| card["measured"].as_array().unwrap().iter().find(|found| found["split"] == split).unwrap();
    // The rows that were held back have the teacher's labels alone; of them, so many are asked about.
    assert_eq!(
        (&told("validation")["rows"], &told("validation")["by_ground_truth"]),
        (&json!(12), &json!(0)),
        "{card}"
    );
    assert_eq!((&told("test")["rows"], &told("test")["by_ground_truth"]), (&json!(10), &json!(6)), "{card}");
    assert!((0.0..=1.0).contains(&told("test")["accuracy"].as_f64().unwrap()));
}

#[test]
fn rows_that_all_lack_a_part_are_refused_by_name() {
    for (part, code) in [("teacher_label", "missing_teacher_labels"), ("rationale", "missing_rationales")] {
        let attempt = Attempt::new();
        let without = |number: usize| {
            let mut row = row(number);
            row.as_object_mut().unwrap().remove(part);
            row
        };
        attempt.write("training.jsonl", (0..64).map(without));
        assert_eq!(attempt.train().0.unwrap_err().code, code);
    }
}

#[test]
fn a_loss_that_stays_infinite_fails_with_a_code() {
    let mut attempt = Attempt::new();
    let hyperparameters = &mut attempt.spec.hyperparameters;
    (hyperparameters.max_steps, hyperparameters.eval_steps) = (Some(100), 1000);
    hyperparameters.learning_rate = Some(1e30);
    let (outcome, frames) = attempt.train();
    assert_eq!(outcome.unwrap_err().code, "non_finite_loss");
    assert!(!events(&frames, "step_skipped").is_empty());
    assert_eq!(events(&frames, "rolled_back").len(), 1, "it goes back once");
}

#[test]
fn a_missing_gpu_is_named() {
    let mut attempt = Attempt::new();
    attempt.spec.device = "cuda:7".to_owned();
    let error = attempt.train().0.unwrap_err();
    assert!(error.message.contains("cuda:7"), "{}", error.message);
}

fn train_command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stepwise"));
    command.arg("train").arg(folder).stderr(Stdio::inherit());
    command
}

#[test]
fn two_processes_leave_the_same_bytes_and_frames_alone() {
    let attempts = [Attempt::new(), Attempt::new()];
    for attempt in &attempts {
        attempt.write_spec();
        let output = train_command(attempt.folder.path()).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success());
        let frames: Vec<Frame> =
            String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(matches!(frames.last(), Some(Frame::Finished { .. })));
    }
    let [first, second] = attempts.map(|attempt| attempt.checkpoint());
    assert_eq!(first, second);
    assert!(first.contains_key("tokenizer.json"));
}

#[test]
fn a_training_ends_when_its_parent_closes_the_pipe() {
    let mut attempt = Attempt::new();
    attempt.spec.hyperparameters.max_steps = Some(1_000_000);
    attempt.write_spec();
    let mut command = train_command(attempt.folder.path());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn a_broken_spec_ends_in_a_failed_frame() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("spec.json"), "{}").unwrap();
    let output = train_command(folder.path()).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let frame: Frame = serde_json::from_slice(&output.stdout).unwrap();
    assert!(matches!(frame, Frame::Failed { error, retryable: false } if error.code == "attempt_spec"));
}
