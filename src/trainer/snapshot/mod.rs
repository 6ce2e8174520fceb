//! Snapshots: everything that continuing a training needs, and nothing else. Randomness is stateless, so none of it is
//! here; rows and a named student's shape are read again from the attempt's folder.
//!
//! ```text
//! snapshot-500.unfinished/ ── parameters, optimizer, best (of this round, and of those before it), tokenizer: each
//!                             written and fsynced
//!                          ── snapshot.json last, with size and sha256 of each, fsynced
//!        └── rename ──▶ snapshot-500/, and fsync of the folder around it
//! ```
//!
//! A crash while it is written leaves an `.unfinished` folder, which nothing reads. A file that changed afterwards is
//! refused by name; so is the snapshot of another spec. What may differ between the two halves of a training without
//! changing the mathematics is in [`Conditions`]: other conditions continue, but not to the same last bit.

mod conditions;
mod error;
mod files;

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tch::Tensor;

pub use conditions::Conditions;
pub use error::SnapshotError;

use self::files::{FileRecord, hexadecimal};
use super::best::Kept;
use super::optimizer::OptimizerState;
use super::patience::Patience;
use super::report::Window;
use super::rounds::Rounds;
use crate::domain::{AttemptSpec, AttemptStudent, KeepCheckpoints, SeedOutcome};
use crate::student::{StudentError, StudentTokenizer, Weights};

/// The layout below; a snapshot of another one is refused.
const FORMAT: u32 = 1;
const MANIFEST: &str = "snapshot.json";
const PARAMETERS: &str = "parameters.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const BEST: &str = "best.safetensors";
const ROUNDS: &str = "rounds.safetensors";
const TOKENIZER: &str = "tokenizer.json";
/// The one tensor of a file of best weights.
const BEST_VALUES: &str = "values";

/// Where a training stands between two steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Steps done.
    pub step: i64,
    /// The step after which the student was last examined; a due exam may still be to come.
    pub examined_at: i64,
    /// The step after which a checkpoint was last left; a due one may still be to come.
    #[serde(default)]
    pub checkpoint_at: i64,
    /// What the exams so far say of going on.
    #[serde(default)]
    pub patience: Patience,
    /// Steps left out because their loss was not finite.
    pub skipped: u64,
    /// The last so many of them in a row.
    pub skipped_in_a_row: u32,
    /// How often it went back.
    #[serde(default)]
    pub rollbacks: u32,
    /// Input and target tokens of all steps that were computed, those that a training went back from among them.
    #[serde(default)]
    pub tokens: u64,
    /// Seconds spent so far.
    pub seconds: f64,
}

/// A training between two steps. One that is to be written shares the training's memory.
pub struct Snapshot {
    /// What it was computed under.
    pub conditions: Conditions,
    /// Where it stands.
    pub standing: Standing,
    /// Figures summed since the last report.
    pub window: Window,
    /// The weights, by their Hugging Face names.
    pub parameters: Weights,
    /// The optimizer's state.
    pub optimizer: OptimizerState,
    /// The best weights so far.
    pub best: Option<Kept>,
    /// The rounds that are over.
    pub rounds: Rounds,
    /// The tokenizer, where the training made it.
    pub tokenizer: Option<StudentTokenizer>,
}

/// `snapshot.json`.
#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    spec_sha256: String,
    conditions: Conditions,
    standing: Standing,
    window: Window,
    optimizer_steps: i32,
    best: Option<BestRecord>,
    #[serde(default)]
    rounds: Vec<SeedOutcome>,
    files: Vec<FileRecord>,
}

#[derive(Serialize, Deserialize)]
struct BestRecord {
    step: i64,
    accuracy: f64,
}

impl Snapshot {
    /// Writes the snapshot into `folder` and gives its name there. What a failure leaves is removed, so that a full disk
    /// is not fuller afterwards.
    pub fn write(&self, folder: &Path, spec: &AttemptSpec) -> Result<String, SnapshotError> {
        let name = format!("snapshot-{}", self.standing.step);
        let unfinished = folder.join(format!("{name}.unfinished"));
        let written = files::fresh_folder(&unfinished).and_then(|()| {
            self.write_files(&unfinished, spec)?;
            files::move_into_place(&unfinished, &folder.join(&name))
        });
        if written.is_err() {
            drop(fs::remove_dir_all(&unfinished));
        }
        written.map(|()| name)
    }

    fn write_files(&self, folder: &Path, spec: &AttemptSpec) -> Result<(), SnapshotError> {
        files::write_tensors(&folder.join(PARAMETERS), &self.parameters)?;
        files::write_tensors(&folder.join(OPTIMIZER), &self.optimizer.tensors)?;
        let mut names = vec![PARAMETERS, OPTIMIZER];
        let best = self.best.as_ref().map(|best| (BEST, &best.values));
        for (name, values) in best.into_iter().chain(self.rounds.best().map(|values| (ROUNDS, values))) {
            let values = Weights::from([(BEST_VALUES.to_owned(), values.shallow_clone())]);
            files::write_tensors(&folder.join(name), &values)?;
            names.push(name);
        }
        if let Some(tokenizer) = &self.tokenizer {
            let path = folder.join(TOKENIZER);
            tokenizer.save(&path).map_err(|error| SnapshotError::damaged(&path, error))?;
            names.push(TOKENIZER);
        }
        let manifest = Manifest {
            format: FORMAT,
            spec_sha256: spec_digest(spec),
            conditions: self.conditions.clone(),
            standing: self.standing,
            window: self.window.clone(),
            optimizer_steps: self.optimizer.steps,
            best: self.best.as_ref().map(|best| BestRecord { step: best.step, accuracy: best.accuracy }),
            rounds: self.rounds.over().to_vec(),
            files: names.into_iter().map(|name| FileRecord::seal(folder, name)).collect::<Result<_, _>>()?,
        };
        let path = folder.join(MANIFEST);
        let text = serde_json::to_vec_pretty(&manifest).map_err(|error| SnapshotError::damaged(&path, error))?;
        fs::write(&path, text).map_err(SnapshotError::file(&path))?;
        files::sync(&path)?;
        files::sync(folder)
    }

    /// Reads the snapshot of this spec from its folder, every byte verified.
    pub fn read(folder: &Path, spec: &AttemptSpec) -> Result<Self, SnapshotError> {
        let path = folder.join(MANIFEST);
        let text = fs::read(&path).map_err(SnapshotError::file(&path))?;
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| SnapshotError::damaged(&path, error))?;
        if manifest.format != FORMAT {
            return Err(SnapshotError::damaged(&path, format!("has the format {}, not {FORMAT}", manifest.format)));
        }
        if manifest.spec_sha256 != spec_digest(spec) {
            return Err(SnapshotError::OtherSpec { path });
        }
        for file in &manifest.files {
            file.verify(folder)?;
        }
        let holds = |name: &str| manifest.files.iter().any(|file| file.name == name);
        let best_round = holds(ROUNDS).then(|| read_values(folder, ROUNDS)).transpose()?;
        let tokenizer = holds(TOKENIZER).then(|| StudentTokenizer::from_dir(folder)).transpose();
        Ok(Self {
            parameters: files::read_tensors(&folder.join(PARAMETERS))?,
            optimizer: OptimizerState {
                steps: manifest.optimizer_steps,
                tensors: files::read_tensors(&folder.join(OPTIMIZER))?,
            },
            best: manifest.best.map(|best| read_best(folder, &best)).transpose()?,
            rounds: Rounds::resume(manifest.rounds, best_round),
            tokenizer: tokenizer.map_err(|error| tokenizer_failed(folder, error))?,
            conditions: manifest.conditions,
            standing: manifest.standing,
            window: manifest.window,
        })
    }
}

fn tokenizer_failed(folder: &Path, error: StudentError) -> SnapshotError {
    match error {
        StudentError::File { path, source } => SnapshotError::File { path, source },
        error => SnapshotError::damaged(folder.join(TOKENIZER), error),
    }
}

fn read_best(folder: &Path, record: &BestRecord) -> Result<Kept, SnapshotError> {
    Ok(Kept { step: record.step, accuracy: record.accuracy, values: read_values(folder, BEST)? })
}

fn read_values(folder: &Path, name: &str) -> Result<Tensor, SnapshotError> {
    let path = folder.join(name);
    let values = files::read_tensors(&path)?.remove(BEST_VALUES);
    values.ok_or_else(|| SnapshotError::damaged(&path, format!("has no tensor {BEST_VALUES:?}")))
}

/// What decides what a training computes. Where its files lie, how it is watched and its [`Conditions`] are left out:
/// the next worker may have others.
fn spec_digest(spec: &AttemptSpec) -> String {
    let mut decisive = AttemptSpec { resume: None, lineage: Default::default(), device: String::new(), ..spec.clone() };
    decisive.hyperparameters.threads = None;
    decisive.hyperparameters.micro_batch_size = None;
    decisive.hyperparameters.log_every = 0;
    decisive.hyperparameters.snapshot_every = 0;
    decisive.hyperparameters.checkpoint_every = 0;
    decisive.hyperparameters.keep_checkpoints = KeepCheckpoints::default();
    if let AttemptStudent::Directory(directory) = &mut decisive.student {
        directory.clear();
    }
    let text = serde_json::to_vec(&decisive).expect("a spec has text keys and finite numbers");
    hexadecimal(&Sha256::digest(text))
}
