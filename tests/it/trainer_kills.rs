//! A training whose process is killed at any moment, again and again, ends in the same bytes as one that nobody touched.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use stepwise::domain::{Frame, Optimizer};

use crate::support::attempt::{Attempt, figures, row};

const KILLS: usize = 20;
const STEPS: u32 = 132;

fn attempt(optimizer: Optimizer) -> Attempt {
    let mut attempt = Attempt::new();
    attempt.spec.test = Some("test.jsonl".to_owned());
    attempt.write("test.jsonl", (64..72).map(row));
    let knobs = &mut attempt.spec.hyperparameters;
    (knobs.optimizer, knobs.max_steps, knobs.warmup_steps) = (optimizer, Some(STEPS), 10);
    (knobs.snapshot_every, knobs.eval_steps, knobs.log_every) = (3, 22, 1);
    attempt
}

fn start(attempt: &Attempt) -> Child {
    attempt.write_spec();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stepwise"));
    command.arg("train").arg(attempt.folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::null()).spawn().unwrap()
}

/// What a process says until it has taken so many steps, or ends.
fn frames_until(child: &mut Child, steps: usize) -> Vec<Frame> {
    let (mut frames, mut taken) = (Vec::new(), 0);
    for line in BufReader::new(child.stdout.as_mut().unwrap()).lines() {
        let frame: Frame = serde_json::from_str(&line.unwrap()).unwrap();
        taken += usize::from(matches!(&frame, Frame::Metrics { values, .. } if values.contains_key("loss")));
        frames.push(frame);
        if taken == steps {
            break;
        }
    }
    frames
}

/// The newest snapshot that has its name, as whoever watches the training would have found it.
fn newest_snapshot(attempt: &Attempt) -> Option<(i64, String)> {
    let names = fs::read_dir(attempt.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let step = |name: String| Some((name.strip_prefix("snapshot-")?.parse().ok()?, name.clone()));
    names.filter_map(|name| step(name.into_string().unwrap())).max()
}

fn assert_kills_change_nothing(optimizer: Optimizer, seed: u64) {
    let (whole, mut killed) = (attempt(optimizer), attempt(optimizer));
    let mut process = start(&whole);
    let undisturbed = frames_until(&mut process, usize::MAX);
    assert!(process.wait().unwrap().success());

    let mut chance = ChaCha12Rng::seed_from_u64(seed);
    let mut frames = Vec::new();
    for kill in 0..KILLS {
        let mut process = start(&killed);
        frames.extend(frames_until(&mut process, chance.random_range(1..=6)));
        // Somewhere in what comes after that step: in the next one, an exam, or half-way through a snapshot.
        std::thread::sleep(Duration::from_micros(chance.random_range(0..30_000)));
        process.kill().unwrap();
        assert!(!process.wait().unwrap().success(), "kill {kill} came after the end");
        killed.spec.resume = newest_snapshot(&killed).map(|(_, name)| name);
    }
    let mut process = start(&killed);
    frames.extend(frames_until(&mut process, usize::MAX));
    assert!(process.wait().unwrap().success(), "{:?}", frames.last());

    assert!(whole.checkpoint() == killed.checkpoint(), "the checkpoints differ");
    assert_eq!(figures(&undisturbed), figures(&frames));
    let last = |attempt: &Attempt| {
        let (step, name) = newest_snapshot(attempt).unwrap();
        let read = |file: &str| fs::read(attempt.folder.path().join(&name).join(file)).unwrap();
        (step, ["optimizer.safetensors", "parameters.safetensors", "best.safetensors"].map(read))
    };
    assert!(last(&whole) == last(&killed), "the last snapshots differ");
}

#[test]
fn twenty_kills_change_no_byte_with_adamw() {
    assert_kills_change_nothing(Optimizer::Adamw, 11);
}

#[test]
fn twenty_kills_change_no_byte_with_adafactor() {
    assert_kills_change_nothing(Optimizer::Adafactor, 12);
}
