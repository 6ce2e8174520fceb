//! What is believed of a model's files, what is thrown away, and what stays.

use std::{fs, os::unix::fs::symlink, path::Path};

use super::*;
use crate::artifacts::Artifacts;
use crate::domain::{FromScratch, StudentCard};
use crate::student::{StudentTokenizer, T5Config, initial_weights, save_checkpoint, unigram};

/// A small student's folder.
fn write_student(folder: &Path) {
    let tokenizer = unigram::train_tokenizer(["the order came late"], 60).unwrap();
    let tokenizer = StudentTokenizer::from_tokenizer(tokenizer).unwrap();
    let shape = FromScratch { d_model: 16, d_kv: 8, d_ff: 16, num_layers: 1, num_heads: 2, ..FromScratch::default() };
    let config = T5Config::from_scratch(&shape, tokenizer.vocabulary_size());
    save_checkpoint(folder, &config, &initial_weights(&config, 7), &tokenizer, &StudentCard::default()).unwrap();
}

#[tokio::test]
async fn a_copy_whose_small_files_are_damaged_goes_and_one_that_cannot_be_read_stays() {
    let root = tempfile::tempdir().unwrap();
    let (folder, cache) = (root.path().join("folder"), root.path().join("cache"));
    write_student(&folder);
    let artifacts = Artifacts::local(&root.path().join("store")).unwrap();
    let manifest = artifacts.publish_directory("m", &folder).await.unwrap().manifest_sha256;
    let fetch = async || {
        let directory = artifacts.fetch_directory("m", &manifest, &cache).await.unwrap();
        ModelFiles { manifest_sha256: Some(manifest.clone()), ..ModelFiles::folder("m", directory) }
    };
    let measured = |model: &ModelFiles| measure(model, Device::Cpu, ServingPrecision::Fp32);
    let right = measured(&fetch().await).unwrap();
    for name in MEASURING {
        let model = fetch().await;
        let path = model.directory.join(name);
        let text = fs::read_to_string(&path).unwrap();
        // The last is a good file, of a larger model.
        let larger = text.replace("16", "1600") + " ";
        for damage in [Some("{"), None, Some(larger.as_str())] {
            let model = fetch().await;
            fs::remove_file(&path).unwrap();
            if let Some(text) = damage {
                fs::write(&path, text).unwrap();
            }
            let Err(InferenceError::ModelDamaged { reason }) = measured(&model) else { panic!("{name} is whole") };
            assert!(reason.contains(name) && !model.directory.exists(), "{reason}");
            assert_eq!(measured(&fetch().await), Ok(right));
        }
        fs::remove_file(&path).unwrap();
        symlink(&path, &path).unwrap();
        let Err(InferenceError::ModelUnreadable { reason }) = measured(&model) else { panic!("{name} was read") };
        assert!(reason.contains(name) && model.directory.exists(), "{reason}");
        fs::remove_file(&path).unwrap();
        fs::write(&path, text).unwrap();
    }
}

#[test]
fn what_cannot_be_read_just_now_is_not_held_against_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    write_student(folder.path());
    let model = ModelFiles::folder("m", folder.path().to_owned());
    for name in [layout::CONFIG, layout::CARD, layout::SAFETENSORS] {
        let path = folder.path().join(name);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&path, &path).unwrap();
        let loaded = measure(&model, Device::Cpu, ServingPrecision::Fp32)
            .and_then(|_| load(&model, Device::Cpu, ServingPrecision::Fp32).map(drop));
        let Err(InferenceError::ModelUnreadable { reason }) = loaded else { panic!("{name}: {loaded:?}") };
        assert!(reason.contains(name), "{reason}");
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
    }
    assert!(load(&model, Device::Cpu, ServingPrecision::Fp32).is_ok());
}

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
