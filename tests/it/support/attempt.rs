//! An attempt's folder with a small student, to train in.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};
use stepwise::{
    domain::{
        AttemptOutcome, AttemptSpec, AttemptStudent, AttemptValidation, Frame, FromScratch, Hyperparameters, JobError,
        LabelSet, LabelSource, Method, RationaleChoice, TaskDefinition,
    },
    trainer::{self, Ended, StopRequest},
};
use tempfile::TempDir;

/// A small student in an attempt's folder, with rows whose label is decided by one word.
pub struct Attempt {
    pub folder: TempDir,
    pub spec: AttemptSpec,
}

impl Attempt {
    pub fn new() -> Self {
        let attempt = Self { folder: tempfile::tempdir().unwrap(), spec: small_spec() };
        attempt.write("training.jsonl", (0..64).map(row));
        attempt
    }

    /// A training whose student has learned to tell the labels apart.
    pub fn learned() -> Self {
        let mut attempt = Self::new();
        let knobs = &mut attempt.spec.hyperparameters;
        (knobs.max_steps, knobs.eval_steps, knobs.learning_rate) = (Some(80), 40, Some(0.01));
        let outcome = attempt.train().0.unwrap();
        assert!(outcome.validation_accuracy > Some(0.9), "it has not learned: {outcome:?}");
        attempt
    }

    /// Trains on from what another one has left.
    pub fn continue_from(&mut self, other: &Self) {
        let folder = other.folder.path().join("checkpoint");
        self.spec.student = AttemptStudent::Directory(folder.to_string_lossy().into_owned());
    }

    pub fn write(&self, name: &str, rows: impl Iterator<Item = Value>) {
        let lines: String = rows.map(|row| format!("{row}\n")).collect();
        fs::write(self.folder.path().join(name), lines).unwrap();
    }

    /// Trains to the end.
    pub fn train(&self) -> (Result<AttemptOutcome, JobError>, Vec<Frame>) {
        let (ended, frames) = self.train_until(|_| false);
        let outcome = ended.map(|ended| match ended {
            Ended::Finished(outcome) => outcome,
            Ended::Stopped => panic!("nobody asked it to stop"),
        });
        (outcome, frames)
    }

    /// Trains until a frame makes somebody ask for a stop.
    pub fn train_until(&self, enough: impl Fn(&Frame) -> bool) -> (Result<Ended, JobError>, Vec<Frame>) {
        // libtorch's random state and its number of threads are the process's: trainings take turns.
        static ALONE: Mutex<()> = Mutex::new(());
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (stop, mut frames) = (StopRequest::default(), Vec::new());
        let ended = trainer::train(self.folder.path(), &self.spec, &stop, &mut |frame| {
            if enough(&frame) {
                stop.make();
            }
            frames.push(frame);
        });
        (ended.map_err(|error| error.job_error()), frames)
    }

    /// Writes `spec.json`, for the command.
    pub fn write_spec(&self) {
        fs::write(self.folder.path().join("spec.json"), json!(self.spec).to_string()).unwrap();
    }

    pub fn checkpoint(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.folder.path().join("checkpoint")).unwrap().map(Result::unwrap);
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
    }
}

/// Trains in a process that may have so much address space, in KiB.
pub fn train_within(attempt: &Attempt, kibibytes: u64) -> Vec<Frame> {
    attempt.write_spec();
    let limited = format!("ulimit -v {kibibytes}; exec \"$0\" train \"$1\"");
    let mut command = Command::new("bash");
    command.args(["-c", &limited, env!("CARGO_BIN_EXE_stepwise")]).arg(attempt.folder.path());
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The details of every event of this code.
pub fn events<'a>(frames: &'a [Frame], wanted: &str) -> Vec<&'a Value> {
    let of = |frame: &'a Frame| match frame {
        Frame::Event { code, data, .. } if code == wanted => Some(data),
        _ => None,
    };
    frames.iter().filter_map(of).collect()
}

/// Steps and folders of the snapshots that were left.
pub fn snapshots(frames: &[Frame]) -> Vec<(i64, String)> {
    let snapshot = |frame: &Frame| match frame {
        Frame::Snapshot { step, folder } => Some((*step, folder.clone())),
        _ => None,
    };
    frames.iter().filter_map(snapshot).collect()
}

/// Every figure by step and name, without those that depend on time and memory.
pub fn figures(frames: &[Frame]) -> BTreeMap<(i64, String), f64> {
    let timeless = |name: &&String| !name.ends_with("_per_second") && *name != "memory_bytes";
    let mut found = BTreeMap::new();
    for frame in frames {
        let Frame::Metrics { step, values } = frame else { continue };
        found.extend(values.keys().filter(timeless).map(|name| ((*step, name.clone()), values[name])));
    }
    found
}

const LABELS: [&str; 2] = ["refund", "reject"];

/// A row whose label is decided by one word.
pub fn row(number: usize) -> Value {
    let thing = ["coat", "lamp", "chair", "phone"][number / 2 % 4];
    let (state, label) = [("torn", LABELS[0]), ("worn", LABELS[1])][number % 2];
    json!({
        "id": format!("row-{number}"),
        "input": format!("order {} holds a {thing} that came {state}", number / 8),
        "teacher_label": label,
        "rationale": format!("it is {state}"),
    })
}

fn small_spec() -> AttemptSpec {
    let shape = FromScratch {
        vocabulary_size: 90,
        d_model: 32,
        d_kv: 16,
        d_ff: 64,
        num_layers: 1,
        num_heads: 2,
        ..FromScratch::default()
    };
    let hyperparameters = Hyperparameters {
        batch_size: 16,
        max_steps: Some(4),
        eval_steps: 2,
        log_every: 2,
        max_label_length: Some(8),
        max_rationale_length: Some(16),
        threads: Some(1),
        ..Hyperparameters::default()
    };
    AttemptSpec {
        student: AttemptStudent::FromScratch(shape),
        task: TaskDefinition {
            name: "returns".to_owned(),
            label_set: LabelSet::Fixed(LABELS.map(str::to_owned).to_vec()),
            ..TaskDefinition::default()
        },
        method: Method::StepByStep,
        label_source: LabelSource::Teacher,
        alpha: 0.5,
        rationales: RationaleChoice::default(),
        label_prefix: "predict: ".to_owned(),
        rationale_prefix: "explain: ".to_owned(),
        max_dropped_ratio: 0.1,
        hyperparameters,
        training: vec!["training.jsonl".to_owned()],
        validation: AttemptValidation::Fraction { fraction: 0.25, seed: 0 },
        test: None,
        device: "cpu".to_owned(),
        lineage: BTreeMap::new(),
        resume: None,
    }
}
