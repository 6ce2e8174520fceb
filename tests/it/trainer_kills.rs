//! A training whose process is killed at any moment, again and again, ends in the same bytes as one that nobody touched.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use stepwise::domain::{AttemptValidation, Frame, Optimizer};

use crate::support::attempt::{Attempt, figures, row};

const KILLS: usize = 20;
const STEPS: u32 = 300;

fn attempt(optimizer: Optimizer) -> Attempt {
    let mut attempt = Attempt::new();
    attempt.spec.test = Some("test.jsonl".to_owned());
    attempt.write("test.jsonl", (64..72).map(row));
    // Enough of them that label probabilities are calibrated by them.
    attempt.spec.validation = AttemptValidation::File("validation.jsonl".to_owned());
    attempt.write("validation.jsonl", (72..104).map(row));
    let knobs = &mut attempt.spec.hyperparameters;
    (knobs.optimizer, knobs.max_steps, knobs.warmup_steps) = (optimizer, Some(STEPS), 10);
    (knobs.snapshot_every, knobs.eval_steps, knobs.log_every) = (3, 22, 1);
    attempt
}

/// A training in a process of its own.
struct Running {
    process: Child,
    says: BufReader<ChildStdout>,
}

impl Running {
    fn start(attempt: &Attempt) -> Self {
        attempt.write_spec();
        let mut command = Command::new(env!("CARGO_BIN_EXE_stepwise"));
        command.arg("train").arg(attempt.folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.stderr(Stdio::null()).spawn().unwrap();
        let says = BufReader::new(process.stdout.take().unwrap());
        Self { process, says }
    }

    /// What it says until it has taken so many steps, or ends. Of a line that a kill cut short nothing is left.
    fn frames_until(&mut self, steps: usize) -> Vec<Frame> {
        let (mut frames, mut taken, mut line) = (Vec::new(), 0, String::new());
        while taken < steps && self.says.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
            let frame: Frame = serde_json::from_str(&line).unwrap();
            taken += usize::from(matches!(&frame, Frame::Metrics { values, .. } if values.contains_key("loss")));
            frames.push(frame);
            line.clear();
        }
        frames
    }

    /// What it had said before it died, which its parent reads as well.
    fn kill(mut self) -> Vec<Frame> {
        self.process.kill().unwrap();
        let frames = self.frames_until(usize::MAX);
        assert!(!self.process.wait().unwrap().success(), "the kill came after the end");
        frames
    }

    fn end(mut self) -> Vec<Frame> {
        let frames = self.frames_until(usize::MAX);
        assert!(self.process.wait().unwrap().success(), "{:?}", frames.last());
        frames
    }
}

/// The newest snapshot that has its name, as whoever watches the training would have found it.
fn newest_snapshot(attempt: &Attempt) -> Option<(i64, String)> {
    let names = fs::read_dir(attempt.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let step = |name: String| Some((name.strip_prefix("snapshot-")?.parse().ok()?, name.clone()));
    names.filter_map(|name| step(name.into_string().unwrap())).max()
}

fn assert_kills_change_nothing(optimizer: Optimizer, seed: u64) {
    let (whole, mut killed) = (attempt(optimizer), attempt(optimizer));
    let undisturbed = Running::start(&whole).end();

    let mut chance = ChaCha12Rng::seed_from_u64(seed);
    let mut frames = Vec::new();
    for _ in 0..KILLS {
        let mut training = Running::start(&killed);
        frames.extend(training.frames_until(chance.random_range(1..=6)));
        // Somewhere in what comes after that step: in one of the next, an exam, or half-way through a snapshot.
        std::thread::sleep(Duration::from_micros(chance.random_range(0..8_000)));
        frames.extend(training.kill());
        killed.spec.resume = newest_snapshot(&killed).map(|(_, name)| name);
    }
    frames.extend(Running::start(&killed).end());

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
