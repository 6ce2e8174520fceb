//! What is done to a model before it answers: its files are held to what was published, read, and asked once.

use tch::Device;

use super::{InferenceError, ModelFiles};
use crate::artifacts::{self, ArtifactError};
use crate::device;
use crate::domain::Precision;
use crate::student::{Student, StudentError, batch::pad, expected_bytes as bytes_of_student, generation};

/// What the first forward pass reads.
const FIRST_READ: &str = "first";
/// Tokens that it writes.
const FIRST_WRITTEN: usize = 2;

/// Bytes that a model will take, before its weights are read.
pub(super) fn expected_bytes(model: &ModelFiles, device: Device, precision: Precision) -> Result<u64, InferenceError> {
    bytes_of_student(&model.directory, device, precision).map_err(|error| broken(&error))
}

/// Reads a model, and lets it do a real forward pass.
pub(super) fn load(model: &ModelFiles, device: Device, precision: Precision) -> Result<Student, InferenceError> {
    let _no_gradients = tch::no_grad_guard();
    check(model)?;
    let loaded = device::catch("loading the model", || Student::load(&model.directory, device, precision));
    let mut student = loaded?.map_err(|error| broken(&error))?;
    device::catch("prepacking the model", || student.prepack())?;
    device::catch("the model's first forward pass", || first_pass(&student))?;
    Ok(student)
}

/// Compares a registered model's copy with what was published. A damaged one is thrown away: it is fetched anew for whoever asks
/// next.
fn check(model: &ModelFiles) -> Result<(), InferenceError> {
    let Some(digest) = &model.manifest_sha256 else { return Ok(()) };
    artifacts::check_copy(&model.directory, digest).map_err(|error| {
        let discarded = artifacts::discard_copy(&model.directory);
        let reason = discarded.err().map_or_else(|| reason(&error), |kept| format!("{}; {kept}", reason(&error)));
        InferenceError::ModelDamaged { reason }
    })
}

/// What is wrong, with its cause.
fn reason(error: &ArtifactError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn first_pass(student: &Student) {
    let (ids, mask) =
        pad(&[student.tokenizer.encode(FIRST_READ, usize::MAX).ids], student.config.pad_token_id, student.device);
    generation::greedy(&student.model, &ids, &mask, FIRST_WRITTEN);
}

fn broken(error: &StudentError) -> InferenceError {
    InferenceError::ModelBroken { reason: error.to_string() }
}
