//! What is done to a model before it answers: its files are held to what was published, read, and asked once.

use tch::Device;

use super::entry::Measure;
use super::{InferenceError, ModelFiles};
use crate::artifacts::{self, ArtifactError};
use crate::device;
use crate::domain::Precision;
use crate::layout;
use crate::student::{Student, StudentError, batch::pad, expected_bytes, generation, read_card};

/// What the first forward pass reads.
const FIRST_READ: &str = "first";
/// Tokens that it writes.
const FIRST_WRITTEN: usize = 2;

/// What a model takes and reads, before its weights are read.
pub(super) fn measure(model: &ModelFiles, device: Device, precision: Precision) -> Result<Measure, InferenceError> {
    let bytes = expected_bytes(&model.directory, device, precision).map_err(|error| broken(&error))?;
    let card = read_card(&model.directory).map_err(|error| broken(&error))?;
    Ok(Measure { bytes, longest: card.max_input_length as usize, prefix: card.label_prefix.len() })
}

/// Reads a model, and lets it do a real forward pass. A panic anywhere on the way is an error like any other: whoever waits for the
/// model must hear of it.
pub(super) fn load(model: &ModelFiles, device: Device, precision: Precision) -> Result<Student, InferenceError> {
    device::catch("loading the model", || {
        let _no_gradients = tch::no_grad_guard();
        check(model)?;
        let mut student = Student::load(&model.directory, device, precision).map_err(|error| broken(&error))?;
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

/// Compares a registered model's copy with what was published. A damaged one is thrown away: it is fetched anew for whoever asks
/// next.
fn check_copy(model: &ModelFiles, digest: &str) -> Result<(), InferenceError> {
    artifacts::check_copy(&model.directory, digest).map_err(|error| {
        if !error.is_damaged_copy() {
            return InferenceError::ModelUnreadable { reason: reason(&error) };
        }
        let discarded = artifacts::discard_copy_blocking(&model.directory);
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

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::artifacts::Artifacts;

    #[tokio::test]
    async fn a_copy_that_cannot_be_read_stays_and_one_that_differs_goes() {
        let root = tempfile::tempdir().unwrap();
        let (folder, cache) = (root.path().join("folder"), root.path().join("cache"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("weights"), b"numbers").unwrap();
        let artifacts = Artifacts::local(&root.path().join("store")).unwrap();
        let manifest = artifacts.publish_directory("m", &folder).await.unwrap().manifest_sha256;
        let fetch = async || {
            let directory = artifacts.fetch_directory("m", &manifest, &cache).await.unwrap();
            ModelFiles { manifest_sha256: Some(manifest.clone()), ..ModelFiles::folder("m", directory) }
        };
        let model = fetch().await;
        assert_eq!(check(&model), Ok(()));
        let weights = model.directory.join("weights");
        // The operating system says that it follows links in a circle: no file is read.
        fs::remove_file(&weights).unwrap();
        symlink(&weights, &weights).unwrap();
        let Err(InferenceError::ModelUnreadable { reason }) = check(&model) else { panic!("it was read") };
        assert!(reason.contains("weights") && model.directory.exists(), "{reason}");
        for damage in [Some(&b"other"[..]), Some(b""), None] {
            fs::remove_file(&weights).unwrap();
            if let Some(bytes) = damage {
                fs::write(&weights, bytes).unwrap();
            }
            let Err(InferenceError::ModelDamaged { reason }) = check(&model) else { panic!("it is whole") };
            assert!(reason.contains("weights") && !model.directory.exists(), "{reason}");
            fetch().await;
            assert_eq!(check(&model), Ok(()));
        }
    }
}
