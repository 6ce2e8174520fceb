//! What is done to a model before it answers: its files are held to what was published, read, and asked once.

use std::io;

use tch::Device;

use super::entry::Measure;
use super::{InferenceError, ModelFiles};
use crate::artifacts::{self, ArtifactError};
use crate::device;
use crate::domain::ServingPrecision;
use crate::layout;
use crate::student::{Student, StudentError, batch::pad, expected_bytes, generation, read_card};

/// What the first forward pass reads.
const FIRST_READ: &str = "first";
/// Tokens that it writes.
const FIRST_WRITTEN: usize = 2;
/// The files that tell what a model takes and reads.
const MEASURING: [&str; 2] = [layout::CONFIG, layout::CARD];

/// What a model takes and reads, before its weights are read. The files that tell it are held to what was published: what they say
/// decides whether the others are read at all.
pub(super) fn measure(
    model: &ModelFiles,
    device: Device,
    precision: ServingPrecision,
) -> Result<Measure, InferenceError> {
    if let Some(digest) = &model.manifest_sha256 {
        let read = |name| artifacts::read_published(&model.directory, digest, name).map(drop);
        MEASURING.into_iter().try_for_each(read).map_err(|error| of_copy(model, &error))?;
    }
    let bytes = expected_bytes(&model.directory, device, precision).map_err(|error| of_student(&error))?;
    let card = read_card(&model.directory).map_err(|error| of_student(&error))?;
    Ok(Measure { bytes, longest: card.max_input_length as usize, prefix: card.label_prefix.len() })
}

/// Reads a model, and lets it do a real forward pass. A panic anywhere on the way is an error like any other: whoever waits for the
/// model must hear of it.
pub(super) fn load(model: &ModelFiles, device: Device, precision: ServingPrecision) -> Result<Student, InferenceError> {
    device::catch("loading the model", || {
        let _no_gradients = tch::no_grad_guard();
        check(model)?;
        let mut student = Student::load(&model.directory, device, precision).map_err(|error| of_student(&error))?;
        student.prepack();
        first_pass(&student);
        Ok(student)
    })?
}

/// Holds a model's files to what is known of them. What could not be read is not known to be damaged.
fn check(model: &ModelFiles) -> Result<(), InferenceError> {
    match &model.manifest_sha256 {
        Some(digest) => check_copy(model, digest),
        None => check_weights(model),
    }
}

/// Compares the weights of a folder that nobody published with their digests, where they have one: in the Hub's cache. It is others'
/// too, so nothing is thrown away.
fn check_weights(model: &ModelFiles) -> Result<(), InferenceError> {
    let files = layout::weight_files(&model.directory);
    artifacts::check_named_blobs(&model.directory, &files).map_err(|error| match error {
        ArtifactError::Corrupt { key, .. } => {
            let reason = format!("{key} is damaged: its sha256 is not its name; remove it, and fetch the model again");
            InferenceError::ModelBroken { reason }
        }
        error => InferenceError::ModelUnreadable { reason: reason(&error) },
    })
}

/// Compares a registered model's copy with what was published.
fn check_copy(model: &ModelFiles, digest: &str) -> Result<(), InferenceError> {
    artifacts::check_copy(&model.directory, digest).map_err(|error| of_copy(model, &error))
}

/// What is wrong with a registered model's copy. A damaged one is thrown away: it is fetched anew for whoever asks next.
fn of_copy(model: &ModelFiles, error: &ArtifactError) -> InferenceError {
    if !error.is_damaged_copy() {
        return InferenceError::ModelUnreadable { reason: reason(error) };
    }
    let discarded = artifacts::discard_copy_blocking(&model.directory);
    let reason = discarded.err().map_or_else(|| reason(error), |kept| format!("{}; {kept}", reason(error)));
    InferenceError::ModelDamaged { reason }
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

/// What is wrong with a student's files, or with this machine at the moment: then nothing is known against them.
fn of_student(error: &StudentError) -> InferenceError {
    let reason = error.to_string();
    match error {
        StudentError::File { source, .. } if !tells_of_files(source) => InferenceError::ModelUnreadable { reason },
        _ => InferenceError::ModelBroken { reason },
    }
}

/// Whether a file is not there, is shorter than it says, or holds something else than text.
fn tells_of_files(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    [InvalidData, NotFound, UnexpectedEof].contains(&error.kind())
}

#[cfg(test)]
mod tests;
