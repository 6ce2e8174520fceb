//! Models whose files are not what they should be: each is refused by the name of what is wrong, and fails alone.

use std::path::Path;

use stepwise::device;
use stepwise::domain::{ServingPrecision, StudentCard};
use stepwise::inference::{Engine, EngineSettings, InferenceError, ModelFiles, PredictionRequest};
use stepwise::student::{T5Config, load_weights, save_weights};
use tch::{Device, Kind};

use super::student::small_checkpoint;

fn engine(precision: ServingPrecision) -> Engine {
    Engine::start(EngineSettings { max_models: 9, ..EngineSettings::on_cpu(1, precision) }).unwrap()
}

fn model(folder: &Path, key: &str) -> ModelFiles {
    ModelFiles::folder(key, folder.to_owned())
}

fn ask(input: &str) -> PredictionRequest {
    PredictionRequest { input: input.to_owned(), max_tokens: Some(2), ..PredictionRequest::default() }
}

#[tokio::test]
async fn a_broken_model_fails_alone() {
    let (folder, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small_checkpoint(folder.path(), &StudentCard::default());
    small_checkpoint(broken.path(), &StudentCard::default());
    std::fs::remove_file(broken.path().join("model.safetensors")).unwrap();
    let engine = engine(ServingPrecision::Fp32);
    let (good, bad) = (model(folder.path(), "good"), model(broken.path(), "bad"));
    let (refused, answered) =
        tokio::join!(engine.predict(&bad, vec![ask("torn")]), engine.predict(&good, vec![ask("torn")]));
    let Err(InferenceError::ModelBroken { reason }) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("model.safetensors"), "{reason}");
    assert!(answered.unwrap()[0].is_ok());
    assert!(engine.warm_up().await.is_ok());
}

#[tokio::test]
async fn a_damaged_file_of_a_model_is_refused_by_its_name() {
    type Damage = (&'static str, fn(Vec<u8>) -> Vec<u8>, &'static str);
    let damages: [Damage; 6] = [
        ("model.safetensors", |bytes| bytes[..bytes.len() / 2].to_vec(), "model.safetensors"),
        ("model.safetensors", |_| b"no tensors".to_vec(), "model.safetensors"),
        ("config.json", |bytes| bytes[..bytes.len() / 2].to_vec(), "config.json"),
        (
            "config.json",
            |bytes| String::from_utf8(bytes).unwrap().replace("\"d_ff\": 32", "\"d_ff\": 48").into(),
            "shape",
        ),
        ("tokenizer.json", |_| b"{}".to_vec(), "tokenizer.json"),
        ("stepwise.json", |_| b"[1, 2]".to_vec(), "stepwise.json"),
    ];
    let engine = engine(ServingPrecision::Fp32);
    for (number, (file, damage, word)) in damages.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        small_checkpoint(folder.path(), &StudentCard::default());
        let path = folder.path().join(file);
        std::fs::write(&path, damage(std::fs::read(&path).unwrap())).unwrap();
        let refused = engine.predict(&model(folder.path(), &number.to_string()), vec![ask("torn")]).await;
        let Err(InferenceError::ModelBroken { reason }) = refused else { panic!("{file}: {refused:?}") };
        assert!(reason.contains(word) && !reason.contains("panic"), "{file}: {reason}");
    }
}

#[tokio::test]
async fn a_model_with_weights_that_are_no_numbers_is_refused_by_their_name() {
    let precisions = [ServingPrecision::Fp32, ServingPrecision::Bf16, ServingPrecision::Int8];
    let names =
        ["shared.weight", "encoder.block.1.layer.1.DenseReluDense.wo.weight", "decoder.final_layer_norm.weight"];
    for precision in precisions.into_iter().filter(|one| device::check_precision(*one, Device::Cpu).is_ok()) {
        let engine = engine(precision);
        for (name, number) in names.into_iter().zip([f64::NAN, f64::INFINITY, f64::NEG_INFINITY]) {
            let folder = tempfile::tempdir().unwrap();
            small_checkpoint(folder.path(), &StudentCard::default());
            let config = T5Config::from_dir(folder.path()).unwrap();
            let weights = load_weights(folder.path(), &config, Device::Cpu, Kind::Float).unwrap();
            let _ = weights[name].view(-1).get(5).fill_(number);
            save_weights(folder.path(), &weights).unwrap();
            let refused = engine.predict(&model(folder.path(), name), vec![ask("torn")]).await;
            let Err(InferenceError::ModelBroken { reason }) = refused else { panic!("{precision:?}: {refused:?}") };
            assert!(reason.contains(name) && reason.contains("not finite"), "{precision:?}: {reason}");
        }
    }
}
