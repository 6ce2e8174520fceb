//! Many models in one engine: who is in memory, who makes room, and who waits for whom.

use std::path::Path;

use futures::{future::join_all, poll};
use stepwise::{
    domain::{ServingPrecision, StudentCard},
    inference::{CompletionRequest, Engine, EngineSettings, InferenceError, ModelFiles, PredictionRequest, Prompt},
    student::expected_bytes,
};
use tch::Device;
use tempfile::TempDir;
use tokio::task::yield_now;

use super::student::small_checkpoint;
use crate::support::slow_model::SlowModel;

fn engine(more: impl FnOnce(&mut EngineSettings)) -> Engine {
    let mut settings = EngineSettings { max_batch: 4, ..EngineSettings::on_cpu(1, ServingPrecision::Fp32) };
    more(&mut settings);
    Engine::start(settings).unwrap()
}

/// A model in a folder of its own.
fn model(name: &str) -> (TempDir, ModelFiles) {
    let folder = tempfile::tempdir().unwrap();
    small_checkpoint(folder.path(), &StudentCard::default());
    let files = ModelFiles::folder(name, folder.path().to_owned());
    (folder, files)
}

fn bytes_of(folder: &Path) -> u64 {
    expected_bytes(folder, Device::Cpu, ServingPrecision::Fp32).unwrap()
}

fn ask(input: &str) -> Vec<PredictionRequest> {
    vec![PredictionRequest { input: input.to_owned(), max_tokens: Some(2), ..PredictionRequest::default() }]
}

fn long_answer() -> Vec<CompletionRequest> {
    let prompt = Prompt::Text("the box was torn".to_owned());
    vec![CompletionRequest { prompt, max_tokens: 1000, min_tokens: 1000, ..CompletionRequest::default() }]
}

async fn answers(engine: &Engine, model: &ModelFiles) {
    assert!(engine.predict(model, ask("torn")).await.unwrap()[0].is_ok());
}

#[tokio::test]
async fn the_least_recently_used_model_makes_room_by_its_bytes() {
    let models: Vec<_> = ["a", "b", "c"].into_iter().map(model).collect();
    let one = bytes_of(models[0].0.path());
    let engine = engine(|settings| settings.max_model_bytes = Some(one * 5 / 2));
    for at in [0, 1, 0] {
        answers(&engine, &models[at].1).await;
    }
    assert!(engine.has("a") && engine.has("b"));
    answers(&engine, &models[2].1).await;
    assert_eq!([engine.has("a"), engine.has("b"), engine.has("c")], [true, false, true]);
    answers(&engine, &models[1].1).await;
    assert_eq!([engine.has("a"), engine.has("b"), engine.has("c")], [false, true, true]);
}

#[tokio::test]
async fn a_model_that_never_fits_is_refused_before_its_weights_are_read() {
    let ((small, fits), (large, too_large)) = (model("small"), model("large"));
    let one = bytes_of(small.path());
    // Whoever read them would say that they are broken.
    std::fs::write(large.path().join("model.safetensors"), b"no tensors").unwrap();
    let config = std::fs::read_to_string(large.path().join("config.json")).unwrap();
    std::fs::write(large.path().join("config.json"), config.replace("\"d_ff\": 32", "\"d_ff\": 3200")).unwrap();
    let engine = engine(|settings| settings.max_model_bytes = Some(one + 1));
    let error = engine.predict(&too_large, ask("torn")).await.unwrap_err();
    let InferenceError::ModelTooLarge { bytes, most, .. } = error else { panic!("{error}") };
    assert_eq!((bytes, most), (bytes_of(large.path()), one + 1));
    assert!(error.to_string().contains("max_model_bytes"), "{error}");
    answers(&engine, &fits).await;
}

#[tokio::test]
async fn whoever_is_in_memory_answers_while_another_is_read() {
    let ((_fast, fast), (slow_folder, slow)) = (model("fast"), model("slow"));
    let pipe = SlowModel::of(slow_folder.path());
    let engine = engine(|_| ());
    let mut waiting = Box::pin(engine.predict(&slow, ask("torn")));
    assert!(poll!(&mut waiting).is_pending());
    for _ in 0..3 {
        answers(&engine, &fast).await;
    }
    assert!(poll!(&mut waiting).is_pending() && !engine.has("slow"));
    let (released, answered) = tokio::join!(pipe.release(), waiting);
    assert_eq!((released, answered.unwrap()[0].is_ok()), ((), true));
}

#[tokio::test]
async fn a_model_with_a_long_answer_under_way_keeps_nobody_from_loading_another() {
    let ((_busy, busy), (_other, other)) = (model("busy"), model("other"));
    let engine = engine(|_| ());
    engine.load(&busy).await.unwrap();
    let mut long = Box::pin(engine.complete(&busy, long_answer()));
    assert!(poll!(&mut long).is_pending());
    engine.load(&other).await.unwrap();
    assert!(engine.has("busy") && engine.has("other"));
    assert!(long.await.unwrap()[0].is_ok());
}

#[tokio::test]
async fn a_model_that_answers_is_not_put_away_and_the_one_that_waits_comes_next() {
    let ((_first, first), (_second, second)) = (model("first"), model("second"));
    let engine = engine(|settings| settings.max_models = 1);
    engine.load(&first).await.unwrap();
    let mut long = Box::pin(engine.complete(&first, long_answer()));
    assert!(poll!(&mut long).is_pending());
    let mut waiting = Box::pin(engine.predict(&second, ask("torn")));
    assert!(poll!(&mut waiting).is_pending());
    // Steady traffic for the first does not keep the second out.
    let mut later = Box::pin(engine.predict(&first, ask("torn")));
    assert!(poll!(&mut later).is_pending());
    assert!(long.await.unwrap()[0].is_ok());
    assert!(waiting.await.unwrap()[0].is_ok());
    assert!(later.await.unwrap()[0].is_ok());
}

#[tokio::test]
async fn many_models_in_the_room_of_two_answer_all_that_they_are_asked() {
    let models: Vec<_> = (0..5).map(|at| model(&at.to_string())).collect();
    let one = bytes_of(models[0].0.path());
    let engine = engine(|settings| settings.max_model_bytes = Some(one * 2));
    let calls = (0..40).map(|at| answers(&engine, &models[at * 7 % 5].1));
    join_all(calls).await;
    let held = models.iter().filter(|(_, files)| engine.has(&files.key)).count();
    assert!((1..=2).contains(&held), "{held} models in the room of two");
    assert_eq!((engine.waiting(), engine.waiting_tokens()), (0, 0));
}

#[tokio::test]
async fn pinned_models_stay_and_a_new_choice_of_them_frees_the_others() {
    let models: Vec<_> = ["a", "b", "c"].into_iter().map(model).collect();
    let engine = engine(|settings| settings.max_models = 2);
    assert_eq!(engine.keep(&[models[0].1.clone()]).await, [Ok(())]);
    for at in [1, 2, 1, 2] {
        answers(&engine, &models[at].1).await;
        assert!(engine.has("a"));
    }
    assert_eq!(engine.keep(&[models[0].1.clone(), models[2].1.clone()]).await, [Ok(()), Ok(())]);
    let error = engine.predict(&models[1].1, ask("torn")).await.unwrap_err();
    assert!(matches!(error, InferenceError::ModelTooLarge { .. }) && error.to_string().contains("pinned"), "{error}");
    // There is no room for the old ones and the new one at once.
    assert_eq!(engine.keep(&[models[1].1.clone()]).await, [Ok(())]);
    answers(&engine, &models[0].1).await;
    assert!(engine.has("b"));
}

#[tokio::test]
async fn who_waits_for_a_model_that_breaks_is_told_and_others_are_not_held_up() {
    let ((folder, broken), (_good, good)) = (model("broken"), model("good"));
    std::fs::write(folder.path().join("model.safetensors"), b"no tensors").unwrap();
    let engine = engine(|_| ());
    let asked = join_all((0..3).map(|_| engine.predict(&broken, ask("torn"))));
    let (refused, ()) = tokio::join!(asked, answers(&engine, &good));
    for refused in refused {
        assert!(matches!(refused, Err(InferenceError::ModelBroken { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn a_model_without_files_goes_after_its_last_answer() {
    let (_folder, files) = model("a");
    let engine = engine(|_| ());
    engine.load(&files).await.unwrap();
    let mut long = Box::pin(engine.complete(&files, long_answer()));
    assert!(poll!(&mut long).is_pending());
    engine.forget("a");
    assert!(engine.has("a"));
    assert!(long.await.unwrap()[0].is_ok());
    assert!(!engine.has("a"));
}

#[tokio::test]
async fn a_stop_waits_for_what_is_being_read() {
    let (folder, files) = model("slow");
    let pipe = SlowModel::of(folder.path());
    let engine = engine(|_| ());
    let mut waiting = Box::pin(engine.predict(&files, ask("torn")));
    assert!(poll!(&mut waiting).is_pending());
    let mut stop = Box::pin(engine.stop());
    while engine.warm_up().await.is_ok() {
        assert!(poll!(&mut stop).is_pending());
        yield_now().await;
    }
    assert!(poll!(&mut stop).is_pending());
    assert_eq!(waiting.await, Err(InferenceError::Stopped));
    tokio::join!(pipe.release(), stop);
}
