//! An interrupted training goes on exactly where it stood, or says why it cannot.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use stepwise::{
    domain::{Frame, JobError, Optimizer, Order, ServingPrecision},
    trainer::Ended,
};

use crate::support::attempt::{Attempt, figures, row, snapshots};

/// A training with everything in play that a snapshot must hold: dropout, exams, a best, test rows.
fn attempt() -> Attempt {
    let mut attempt = Attempt::new();
    attempt.spec.test = Some("test.jsonl".to_owned());
    attempt.write("test.jsonl", (64..80).map(row));
    let hyperparameters = &mut attempt.spec.hyperparameters;
    (hyperparameters.max_steps, hyperparameters.eval_steps, hyperparameters.log_every) = (Some(30), 6, 4);
    // The rate rises until what was learned is lost again.
    (hyperparameters.learning_rate, hyperparameters.warmup_steps) = (Some(0.6), 30);
    hyperparameters.weight_decay = 0.01;
    hyperparameters.snapshot_every = 0;
    attempt
}

fn event<'a>(frames: &'a [Frame], wanted: &str) -> Option<&'a Value> {
    frames.iter().find_map(|frame| match frame {
        Frame::Event { code, data, .. } if code == wanted => Some(data),
        _ => None,
    })
}

fn is_event(frame: &Frame, wanted: &str) -> bool {
    matches!(frame, Frame::Event { code, .. } if code == wanted)
}

/// Trains with a stop at each of the frames that `enough` picks, continuing from the snapshot each time.
fn train_in_parts(attempt: &mut Attempt, enough: &[&dyn Fn(&Frame) -> bool]) -> Vec<Frame> {
    let mut all = Vec::new();
    for enough in enough {
        let (ended, frames) = attempt.train_until(enough);
        assert!(matches!(ended, Ok(Ended::Stopped)), "{ended:?}");
        assert!(!attempt.folder.path().join("checkpoint").exists());
        attempt.spec.resume = Some(snapshots(&frames).pop().unwrap().1);
        all.extend(frames);
    }
    let (outcome, frames) = attempt.train();
    outcome.unwrap();
    assert!(event(&frames, "resumed").is_some() && event(&frames, "inexact_resume").is_none());
    all.extend(frames);
    all
}

/// Trains once whole and once in parts, and returns the step of the best exam.
fn assert_exact(change: impl Fn(&mut Attempt)) -> i64 {
    let (mut whole, mut parts) = (attempt(), attempt());
    change(&mut whole);
    change(&mut parts);
    let (outcome, frames) = whole.train();
    let in_parts = train_in_parts(
        &mut parts,
        &[
            // In the midst of an epoch and of a window of metrics.
            &|frame| matches!(frame, Frame::Progress { step: 1, .. }),
            // Just before an exam: it is interrupted, and still due.
            &|frame| matches!(frame, Frame::Metrics { step: 12, .. }),
            // After the last exam of the training: what remains are the test rows.
            &|frame| matches!(frame, Frame::Metrics { step: 30, values } if values.contains_key("label_accuracy")),
        ],
    );
    assert!(whole.checkpoint() == parts.checkpoint(), "the checkpoints differ");
    assert_eq!(figures(&frames), figures(&in_parts));
    outcome.unwrap().best_step
}

/// As above, where the student that is begun with is the better one: what a snapshot keeps of the best weights is what is left.
fn assert_exact_with_an_early_best(change: impl Fn(&mut Attempt)) {
    let learned = Attempt::learned();
    let best_step = assert_exact(|attempt| {
        attempt.continue_from(&learned);
        change(attempt);
    });
    assert!(best_step < 30, "the best weights are the last ones, which proves less");
}

#[test]
fn resuming_equals_never_stopping_byte_for_byte_with_adamw() {
    assert_exact_with_an_early_best(|_| {});
}

#[test]
fn resuming_equals_never_stopping_byte_for_byte_with_adafactor() {
    assert_exact_with_an_early_best(|attempt| attempt.spec.hyperparameters.optimizer = Optimizer::Adafactor);
}

#[test]
fn resuming_equals_never_stopping_where_rates_follow_the_weights() {
    assert_exact_with_an_early_best(|attempt| attempt.spec.hyperparameters.scale_by_weight = Some(true));
}

#[test]
fn resuming_equals_never_stopping_for_a_student_from_scratch() {
    assert_exact(|_| {});
}

#[test]
fn a_training_continues_from_the_snapshots_it_writes_on_its_own() {
    let (mut whole, mut killed) = (attempt(), attempt());
    whole.train().0.unwrap();
    killed.spec.hyperparameters.snapshot_every = 7;
    let (_, frames) = killed.train();
    let written = snapshots(&frames);
    assert_eq!(written.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [7, 14, 21, 28]);
    // Two are left in the folder, complete ones, and nothing half-written.
    let mut left = names_in(&killed.folder.path().to_owned(), "snapshot-");
    left.sort();
    assert_eq!(left, ["snapshot-21", "snapshot-28"]);
    killed.spec.resume = Some(written[2].1.clone());
    let (outcome, frames) = killed.train();
    outcome.unwrap();
    assert_eq!(event(&frames, "resumed").unwrap()["step"], 21);
    assert_eq!(snapshots(&frames).len(), 1, "only the one after step 28: {frames:?}");
    whole.spec.resume = None;
    assert!(whole.checkpoint() == killed.checkpoint());
}

/// Steps, folders and accuracies of the checkpoints that were left.
fn checkpoints(frames: &[Frame]) -> Vec<(i64, String, Option<f64>)> {
    let of = |frame: &Frame| match frame {
        Frame::Checkpoint { step, folder, accuracy, .. } => Some((*step, folder.clone(), *accuracy)),
        _ => None,
    };
    frames.iter().filter_map(of).collect()
}

#[test]
fn checkpoints_are_left_on_the_way_and_change_nothing() {
    let (whole, mut watched) = (attempt(), attempt());
    whole.train().0.unwrap();
    watched.spec.hyperparameters.checkpoint_every = 4;
    let (_, frames) = watched.train();
    let left = checkpoints(&frames);
    assert_eq!(left.iter().map(|(step, ..)| *step).collect::<Vec<_>>(), [4, 8, 12, 16, 20, 24, 28]);
    let examined = figures(&frames);
    for (step, folder, accuracy) in &left {
        assert_eq!(*accuracy, examined.get(&(*step, "label_accuracy".to_owned())).copied(), "step {step}");
        let student = stepwise::student::Student::load(
            &watched.folder.path().join(folder),
            tch::Device::Cpu,
            ServingPrecision::Fp32,
        );
        assert_eq!(student.unwrap().card.lineage["step"], *step);
    }
    assert_eq!(left.iter().filter(|(.., accuracy)| accuracy.is_some()).count(), 2, "exams are every 6 steps: {left:?}");
    assert!(whole.checkpoint() == watched.checkpoint(), "the last checkpoint differs");
}

#[test]
fn an_interrupted_training_leaves_the_same_checkpoints_each_once() {
    let (mut whole, mut parts) = (attempt(), attempt());
    for attempt in [&mut whole, &mut parts] {
        attempt.spec.hyperparameters.checkpoint_every = 6;
    }
    let (_, frames) = whole.train();
    // Both stops come at a step that is due for a checkpoint: once before its exam, once after the checkpoint.
    let in_parts = train_in_parts(
        &mut parts,
        &[&|frame| matches!(frame, Frame::Metrics { step: 12, .. }), &|frame| {
            matches!(frame, Frame::Checkpoint { step: 24, .. })
        }],
    );
    assert_eq!(checkpoints(&in_parts), checkpoints(&frames));
    for (_, folder, _) in checkpoints(&frames) {
        let weights =
            |attempt: &Attempt| std::fs::read(attempt.folder.path().join(&folder).join("model.safetensors")).unwrap();
        assert!(weights(&whole) == weights(&parts), "{folder} differs");
    }
}

fn names_in(folder: &PathBuf, prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.filter(|name| name.starts_with(prefix)).collect()
}

/// A training stopped in its midst, and the folder of its snapshot.
fn interrupted() -> (Attempt, PathBuf) {
    let mut attempt = attempt();
    let (_, frames) = attempt.train_until(|frame| is_event(frame, "evaluated"));
    let name = snapshots(&frames).pop().unwrap().1;
    attempt.spec.resume = Some(name.clone());
    let folder = attempt.folder.path().join(name);
    (attempt, folder)
}

#[test]
fn other_conditions_continue_with_a_warning() {
    let (mut attempt, _) = interrupted();
    attempt.spec.hyperparameters.micro_batch_size = Some(5);
    attempt.spec.hyperparameters.threads = Some(2);
    let (outcome, frames) = attempt.train();
    outcome.unwrap();
    let different = event(&frames, "inexact_resume").unwrap();
    assert_eq!(different["micro_batch_size"], json!({"was": 16, "is": 5}));
    assert_eq!(different["threads"], json!({"was": 1, "is": 2}));
}

#[test]
fn the_seconds_of_a_training_are_the_sum_of_its_parts() {
    let (attempt, folder) = interrupted();
    let path = folder.join("snapshot.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let before = manifest["standing"]["seconds"].as_f64().unwrap();
    manifest["standing"]["seconds"] = json!(before + 5000.0);
    fs::write(&path, manifest.to_string()).unwrap();
    let outcome = attempt.train().0.unwrap();
    assert!(before > 0.0 && outcome.seconds > before + 5000.0, "{before} and then {}", outcome.seconds);
    assert!(outcome.seconds < 2.0 * 5000.0, "a part was counted twice: {}", outcome.seconds);
}

#[test]
fn a_damaged_snapshot_is_refused_by_the_name_of_its_file() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 5] = [
        ("parameters.safetensors", |bytes| *bytes.last_mut().unwrap() ^= 1),
        ("optimizer.safetensors", |bytes| bytes.truncate(100)),
        ("best.safetensors", |bytes| bytes.push(0)),
        ("tokenizer.json", |bytes| bytes.clear()),
        ("snapshot.json", |bytes| bytes.truncate(50)),
    ];
    for (name, damage) in damages {
        let (attempt, folder) = interrupted();
        let mut bytes = fs::read(folder.join(name)).unwrap();
        damage(&mut bytes);
        fs::write(folder.join(name), bytes).unwrap();
        let error = attempt.train().0.unwrap_err();
        assert_eq!(error.code, JobError::SNAPSHOT_UNUSABLE);
        assert!(error.message.contains(name), "{}", error.message);
    }
    let (attempt, folder) = interrupted();
    fs::remove_file(folder.join("optimizer.safetensors")).unwrap();
    assert!(attempt.train().0.unwrap_err().message.contains("optimizer.safetensors"));
}

#[test]
fn a_snapshot_of_another_spec_is_refused() {
    let (mut attempt, _) = interrupted();
    attempt.spec.alpha = 0.25;
    let error = attempt.train().0.unwrap_err();
    assert!(error.code == JobError::SNAPSHOT_UNUSABLE && error.message.contains("another spec"), "{error}");
}

#[test]
fn a_snapshot_loses_its_name_before_it_loses_a_file() {
    let mut attempt = attempt();
    attempt.spec.hyperparameters.snapshot_every = 7;
    let oldest = attempt.folder.path().join("snapshot-7");
    // A file in its place cannot be removed as a folder is; it can be renamed.
    let (ended, _) = attempt.train_until(|frame| {
        if matches!(frame, Frame::Snapshot { step: 14, .. }) {
            fs::remove_dir_all(&oldest).unwrap();
            fs::write(&oldest, "").unwrap();
        }
        false
    });
    assert!(matches!(ended, Ok(Ended::Finished(_))), "{ended:?}");
    assert!(!oldest.exists(), "half a snapshot would lie here under its name");
    assert!(oldest.with_extension("removing").exists());
}

#[test]
fn a_snapshot_that_its_reader_has_taken_away_is_not_missed() {
    let mut attempt = attempt();
    attempt.spec.hyperparameters.snapshot_every = 7;
    let (oldest, taken) = (attempt.folder.path().join("snapshot-7"), attempt.folder.path().join("taken"));
    let (ended, frames) = attempt.train_until(|frame| {
        if matches!(frame, Frame::Snapshot { step: 14, .. }) {
            fs::rename(&oldest, &taken).unwrap();
        }
        false
    });
    assert!(matches!(ended, Ok(Ended::Finished(_))), "{ended:?}");
    assert_eq!(snapshots(&frames).len(), 4);
    assert!(taken.join("snapshot.json").exists() && taken.join("parameters.safetensors").exists());
}

#[test]
fn a_snapshot_that_cannot_be_written_costs_a_warning() {
    let mut attempt = attempt();
    attempt.spec.hyperparameters.snapshot_every = 7;
    // A file where the folder must come to be.
    fs::write(attempt.folder.path().join("snapshot-7.unfinished"), "in the way").unwrap();
    let (outcome, frames) = attempt.train();
    outcome.unwrap();
    assert_eq!(event(&frames, "snapshot_failed").unwrap()["step"], 7);
    assert_eq!(snapshots(&frames).len(), 3);
}

#[test]
fn an_order_on_standard_input_stops_the_process_with_a_snapshot_and_signals_do_not() {
    let mut attempt = attempt();
    attempt.spec.hyperparameters.max_steps = Some(1_000_000);
    attempt.write_spec();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stepwise"));
    command.arg("train").arg(attempt.folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut orders = child.stdin.take().unwrap();
    let mut frames = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let frame: Frame = serde_json::from_str(&line.unwrap()).unwrap();
        if matches!(frame, Frame::Metrics { step: 8, .. }) {
            // As a terminal and a service manager do it to a whole group.
            for signal in [libc::SIGINT, libc::SIGTERM] {
                // SAFETY: the process is our child and has not been waited for, so the id is its own.
                assert_eq!(unsafe { libc::kill(child.id().cast_signed(), signal) }, 0);
            }
        }
        if matches!(frame, Frame::Metrics { step: 20, .. }) {
            writeln!(orders, "an order of a later program\n{}", Order::SnapshotAndStop.as_str()).unwrap();
        }
        frames.push(frame);
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(frames.last(), Some(&Frame::Stopped));
    let (step, folder) = snapshots(&frames).pop().unwrap();
    assert!(step >= 20 && attempt.folder.path().join(folder).join("snapshot.json").exists());
}

#[test]
fn a_frame_of_a_later_program_says_nothing() {
    let frame: Frame = serde_json::from_value(json!({"frame": "weather", "degrees": 21})).unwrap();
    assert_eq!(frame, Frame::Unknown);
}
