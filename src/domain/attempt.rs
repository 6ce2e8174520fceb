//! What passes between a worker and the child process of one training attempt: `spec.json` and orders in, one frame a
//! line out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    AttemptOutcome, Calibration, FromScratch, Hyperparameters, JobError, LabelSource, LearnedTexts, Measurement,
    Method, RationaleChoice, SeedOutcome, TaskDefinition,
};

/// `spec.json` of an attempt's folder. Every path is relative to that folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptSpec {
    /// Who learns.
    pub student: AttemptStudent,
    /// What is learned and how it is scored.
    pub task: TaskDefinition,
    /// How it is learned.
    pub method: Method,
    /// Whose labels are learned.
    pub label_source: LabelSource,
    /// Weight of the label's loss; the rationale's is `1 - alpha`.
    pub alpha: f64,
    /// Which rationales are learned.
    #[serde(default)]
    pub rationales: RationaleChoice,
    /// What tells the student that a label is wanted.
    pub label_prefix: String,
    /// What tells the student that a rationale is wanted.
    pub rationale_prefix: String,
    /// The attempt fails when a larger share of the rows cannot be used.
    pub max_dropped_ratio: f64,
    /// The knobs of training, with `threads` filled in.
    pub hyperparameters: Hyperparameters,
    /// Files of examples.
    pub training: Vec<String>,
    /// Where the validation rows come from.
    pub validation: AttemptValidation,
    /// Rows that are looked at once for each seed, after that seed's training. They decide nothing.
    pub test: Option<String>,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Copied into the checkpoint's `stepwise.json`.
    pub lineage: BTreeMap<String, serde_json::Value>,
    /// The folder of a snapshot to continue from; null: from the start.
    #[serde(default)]
    pub resume: Option<String>,
}

impl AttemptSpec {
    /// Whether each weight's step is scaled by that weight.
    pub fn scales_by_weight(&self) -> bool {
        let is_new = matches!(self.student, AttemptStudent::FromScratch(_));
        self.hyperparameters.scale_by_weight.unwrap_or(is_new)
    }
}

/// The student of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptStudent {
    /// A folder in Hugging Face's layout; the one path that may be absolute.
    Directory(String),
    /// A new T5.
    FromScratch(FromScratch),
}

/// The validation rows of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptValidation {
    /// A file of examples.
    File(String),
    /// Carved out of the training rows.
    Fraction {
        /// Share of the training rows, in [0, 1).
        fraction: f64,
        /// Seed of the choice.
        seed: u64,
    },
}

/// One line that the child writes to its standard output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a frame is read and gone; of the large kind there is one to a training")]
pub enum Frame {
    /// How far it is.
    Progress {
        /// Optimizer steps done.
        step: i64,
        /// Optimizer steps in all.
        total: i64,
    },
    /// Figures at one step, by the names of `domain::metric`.
    Metrics {
        /// The optimizer step.
        step: i64,
        /// Figure by name.
        values: BTreeMap<String, f64>,
    },
    /// Something that a person should know.
    Event {
        /// `info`, `warn` or `error`.
        level: String,
        /// A stable name to branch on.
        code: String,
        /// A sentence.
        message: String,
        /// Details.
        data: serde_json::Value,
    },
    /// A checkpoint lies complete in a folder of the attempt's folder. Whoever reads this removes it.
    Checkpoint {
        /// Optimizer steps done.
        step: i64,
        /// The folder's name.
        folder: String,
        /// Accuracy on the validation rows at that step, 0..1; null where it was not examined there.
        accuracy: Option<f64>,
        /// The seed that it learned under; null from a program that had one seed for a training.
        #[serde(default)]
        seed: Option<u64>,
    },
    /// A snapshot lies complete in a folder of the attempt's folder. It stays there, whole, until two newer ones have come
    /// or whoever reads this has renamed it; under its name it is never half removed.
    Snapshot {
        /// Optimizer steps done.
        step: i64,
        /// The folder's name.
        folder: String,
    },
    /// The last frame of an attempt that left a checkpoint in `checkpoint/`.
    Finished {
        /// What it found.
        outcome: AttemptOutcome,
    },
    /// The last frame of an attempt that gave up.
    Failed {
        /// Why.
        error: JobError,
        /// Whether another attempt could do better.
        retryable: bool,
    },
    /// The last frame of an attempt that stopped because it was ordered to. Its last snapshot came just before, unless
    /// that could not be written.
    Stopped,
    /// A frame of a newer program, which says nothing to this one.
    #[serde(other)]
    Unknown,
}

/// One line that the parent writes to the child's standard input. Closing it is an order too: leave at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Write a snapshot at the next step's end, then stop.
    SnapshotAndStop,
}

impl Order {
    /// The line, without its end.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SnapshotAndStop => "snapshot_and_stop",
        }
    }

    /// The order that a line gives; none where it says nothing to this program.
    pub fn of_line(line: &str) -> Option<Self> {
        (line.trim() == Self::SnapshotAndStop.as_str()).then_some(Self::SnapshotAndStop)
    }
}

/// `stepwise.json` beside a checkpoint's weights: what a server must know to ask the student rightly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudentCard {
    /// What it learned.
    pub task: TaskDefinition,
    /// How it learned.
    pub method: Method,
    /// What tells it that a label is wanted.
    pub label_prefix: String,
    /// What tells it that a rationale is wanted; null where it never learned one apart.
    pub rationale_prefix: Option<String>,
    /// Tokens of an input that it reads. Longer ones than it learned from are read too, as far as nothing was said.
    pub max_input_length: u32,
    /// Tokens of a label that it may write.
    pub max_label_length: u32,
    /// Tokens of a rationale that it may write.
    pub max_rationale_length: u32,
    /// How long the texts were that it learned from; null where that is not known.
    #[serde(default)]
    pub learned: Option<LearnedTexts>,
    /// Base, job and data.
    #[serde(default)]
    pub lineage: BTreeMap<String, serde_json::Value>,
    /// What its training found of it.
    #[serde(default)]
    pub measured: Vec<Measurement>,
    /// How the probabilities of its label set were fitted to its validation rows; null where they were not.
    #[serde(default)]
    pub calibration: Option<Calibration>,
    /// The students that differ from it in their seed alone, itself among them; empty where there was one seed.
    #[serde(default)]
    pub seeds: Vec<SeedOutcome>,
}

impl Default for StudentCard {
    /// For a model that has no `stepwise.json`: the research code's prefixes, any label.
    fn default() -> Self {
        Self {
            task: TaskDefinition { name: "text".to_owned(), ..TaskDefinition::default() },
            method: Method::StepByStep,
            label_prefix: "predict: ".to_owned(),
            rationale_prefix: Some("explain: ".to_owned()),
            max_input_length: 1024,
            max_label_length: 64,
            max_rationale_length: 256,
            learned: None,
            lineage: BTreeMap::new(),
            measured: Vec::new(),
            calibration: None,
            seeds: Vec::new(),
        }
    }
}
