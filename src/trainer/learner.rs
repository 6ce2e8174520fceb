//! The student as it learns: its fp32 weights, its tokenizer, and the arithmetic that a step is done in.

use std::path::Path;

use tch::{Device, Kind};

use super::TrainError;
use super::data::Data;
use super::fitting;
use super::parameters::Parameters;
use super::snapshot::{Snapshot, SnapshotError};
use super::texts::Texts;
use crate::device;
use crate::domain::{AttemptSpec, AttemptStudent, FromScratch, Method, ServingPrecision, StudentCard, single_target};
use crate::student::{Student, StudentTokenizer, T5, T5Config, Weights, initial_weights, save_checkpoint, unigram};

/// A student that learns.
pub struct Learner {
    /// Its shape.
    pub config: T5Config,
    /// How it reads and writes.
    pub tokenizer: StudentTokenizer,
    /// What it knows.
    pub parameters: Parameters,
    /// Where it computes.
    pub device: Device,
    /// What its matrix products are done in.
    pub kind: Kind,
}

impl Learner {
    /// A pre-trained student from its folder, or a new one with a tokenizer trained on the training rows.
    pub fn start(folder: &Path, spec: &AttemptSpec, data: &Data, seed: u64) -> Result<Self, TrainError> {
        let device = device::parse(&spec.device)?;
        let kind = device::kind_for(spec.hyperparameters.precision, device);
        let fits = |config: &T5Config| fitting::check(config, &spec.hyperparameters, device);
        let (config, tokenizer, weights) = match &spec.student {
            AttemptStudent::Directory(directory) => {
                let directory = folder.join(directory);
                fits(&T5Config::from_dir(&directory)?)?;
                pretrained(&directory)?
            }
            AttemptStudent::FromScratch(shape) => {
                let tokenizer = trained_tokenizer(shape, spec, data)?;
                let config = T5Config::from_scratch(shape, tokenizer.vocabulary_size());
                config.validate()?;
                fits(&config)?;
                let weights = initial_weights(&config, seed);
                (config, tokenizer, weights)
            }
        };
        Ok(Self { parameters: Parameters::new(&weights, device, kind), config, tokenizer, device, kind })
    }

    /// The weights that a training under this seed begins with.
    pub fn first_weights(&self, folder: &Path, spec: &AttemptSpec, seed: u64) -> Result<Weights, TrainError> {
        Ok(match &spec.student {
            AttemptStudent::Directory(directory) => pretrained(&folder.join(directory))?.2,
            AttemptStudent::FromScratch(_) => initial_weights(&self.config, seed),
        })
    }

    /// The student of an interrupted training, with the weights that it had.
    pub fn resume(folder: &Path, spec: &AttemptSpec, snapshot: &Snapshot) -> Result<Self, TrainError> {
        let device = device::parse(&spec.device)?;
        let (config, tokenizer) = match (&spec.student, &snapshot.tokenizer) {
            (AttemptStudent::Directory(directory), _) => {
                let directory = folder.join(directory);
                let config = T5Config::from_dir(&directory)?.with_output_of(&snapshot.parameters);
                (config, StudentTokenizer::from_dir(&directory)?)
            }
            (AttemptStudent::FromScratch(shape), Some(tokenizer)) => {
                (T5Config::from_scratch(shape, tokenizer.vocabulary_size()), tokenizer.clone())
            }
            (AttemptStudent::FromScratch(_), None) => {
                return Err(SnapshotError::damaged("tokenizer.json", "is not in the snapshot").into());
            }
        };
        T5::new(&config, &snapshot.parameters)
            .map_err(|error| SnapshotError::damaged("parameters.safetensors", error))?;
        let kind = device::kind_for(spec.hyperparameters.precision, device);
        Ok(Self { parameters: Parameters::new(&snapshot.parameters, device, kind), config, tokenizer, device, kind })
    }

    /// The weights as a step computes with them, which carry gradients, and a T5 that reads them.
    pub fn to_compute(&self) -> Result<(Weights, T5), TrainError> {
        let weights = self.parameters.to_compute();
        let model = T5::new(&self.config, &weights)?;
        Ok((weights, model))
    }

    /// Writes a checkpoint beside its final place, `finished`, and then moves it there: a folder of that name is complete.
    pub fn save(&self, finished: &Path, card: &StudentCard) -> Result<(), TrainError> {
        let unfinished = &finished.with_extension("unfinished");
        for old in [unfinished, finished] {
            if old.exists() {
                std::fs::remove_dir_all(old).map_err(TrainError::file(old))?;
            }
        }
        std::fs::create_dir_all(unfinished).map_err(TrainError::file(unfinished))?;
        let weights = self.parameters.by_name();
        save_checkpoint(unfinished, &self.config, &weights, &self.tokenizer, card)?;
        std::fs::rename(unfinished, finished).map_err(TrainError::file(finished))
    }
}

/// What the checkpoint says of itself.
pub fn card(spec: &AttemptSpec, texts: &Texts) -> StudentCard {
    let served = texts.served();
    StudentCard {
        task: spec.task.clone(),
        method: spec.method,
        label_prefix: spec.label_prefix.clone(),
        rationale_prefix: (spec.method == Method::StepByStep).then(|| spec.rationale_prefix.clone()),
        max_input_length: served.input,
        max_label_length: served.label,
        max_rationale_length: served.rationale,
        learned: Some(texts.learned()),
        lineage: spec.lineage.clone(),
        measured: Vec::new(),
        calibration: None,
        seeds: Vec::new(),
    }
}

fn pretrained(directory: &Path) -> Result<(T5Config, StudentTokenizer, Weights), TrainError> {
    let student = Student::load(directory, Device::Cpu, ServingPrecision::Fp32)?;
    Ok((student.config, student.tokenizer, student.weights))
}

fn trained_tokenizer(shape: &FromScratch, spec: &AttemptSpec, data: &Data) -> Result<StudentTokenizer, TrainError> {
    let tokenizer = unigram::train_tokenizer(texts(spec, data), shape.vocabulary_size as usize)?;
    Ok(StudentTokenizer::from_tokenizer(tokenizer)?)
}

/// Everything that the student will read or write while it learns, fixed words as often as they come. A character that
/// is missing here becomes `<unk>`, which a student can neither tell apart nor write.
fn texts<'a>(spec: &'a AttemptSpec, data: &'a Data) -> impl Iterator<Item = &'a str> {
    let beside_rationale = match spec.method {
        Method::StepByStep => Some(spec.rationale_prefix.as_str()),
        Method::RationaleThenLabel => Some(single_target::SEPARATOR),
        Method::Standard => None,
    };
    data.training.iter().flat_map(move |row| {
        let asked = [spec.label_prefix.as_str(), row.input.as_str(), row.label.as_str()];
        let rationales = row.rationales.iter().map(String::as_str);
        let explained = beside_rationale.map(|words| rationales.flat_map(move |rationale| [words, rationale]));
        asked.into_iter().chain(explained.into_iter().flatten())
    })
}
