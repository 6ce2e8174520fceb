//! More than an engine takes on: what is refused, when, and what it costs.

use std::{path::Path, time::Duration};

use futures::poll;
use stepwise::{
    domain::{ServingPrecision, StudentCard},
    inference::{CompletionRequest, Engine, EngineSettings, InferenceError, ModelFiles, PredictionRequest, Prompt},
};

use super::student::small_checkpoint;
use crate::support::{exposition::Exposition, slow_model::SlowModel};

/// A bound on waiting that is over before a thousand tokens are written.
const SHORT: Duration = Duration::from_millis(1);

fn engine(more: impl FnOnce(&mut EngineSettings)) -> Engine {
    let mut settings = EngineSettings { max_batch: 1, ..EngineSettings::on_cpu(1, ServingPrecision::Fp32) };
    more(&mut settings);
    Engine::start(settings).unwrap()
}

fn model(folder: &Path) -> ModelFiles {
    small_checkpoint(folder, &StudentCard { max_input_length: 48, ..StudentCard::default() });
    ModelFiles::folder("a", folder.to_owned())
}

fn ask(input: &str) -> Vec<PredictionRequest> {
    vec![PredictionRequest { input: input.to_owned(), max_tokens: Some(2), ..PredictionRequest::default() }]
}

fn write(tokens: usize) -> Vec<CompletionRequest> {
    let prompt = Prompt::Text("the box was torn".to_owned());
    vec![CompletionRequest { prompt, max_tokens: tokens, min_tokens: tokens, ..CompletionRequest::default() }]
}

fn turned_away(engine: &Engine, reason: &str) -> Option<f64> {
    Exposition::of_engine(engine).value("stepwise_inference_rejections_total", &[("reason", reason)])
}

#[tokio::test]
async fn tokens_bound_what_waits_and_are_free_again_with_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, model) = (engine(|settings| settings.max_waiting_tokens = 80), model(folder.path()));
    engine.load(&model).await.unwrap();
    // What comes before all others takes long.
    let mut busy = Box::pin(engine.complete(&model, write(3000)));
    assert!(poll!(&mut busy).is_pending());
    assert_eq!((engine.waiting(), engine.waiting_tokens()), (1, 17));
    // A long input counts as much as the model reads of it, 48 tokens.
    let mut first = Box::pin(engine.predict(&model, ask(&"torn ".repeat(1000))));
    assert!(poll!(&mut first).is_pending());
    assert_eq!((engine.waiting(), engine.waiting_tokens()), (2, 65));
    let refused = engine.predict(&model, ask("the box was torn")).await;
    assert_eq!(refused, Err(InferenceError::Overloaded { seconds: 1 }));
    assert_eq!(turned_away(&engine, "tokens"), Some(1.0));
    assert_eq!(busy.await.unwrap().len(), 1);
    assert!(first.await.unwrap()[0].is_ok());
    assert_eq!((engine.waiting(), engine.waiting_tokens()), (0, 0));
    // What is more than there is room for at all is taken by an idle engine.
    let many = (0..9).flat_map(|_| ask("the box was torn")).collect();
    assert_eq!(engine.predict(&model, many).await.unwrap().len(), 9);
    assert_eq!(engine.waiting_tokens(), 0);
}

#[tokio::test]
async fn nobody_waits_for_a_model_to_be_told_that_there_is_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, model) = (engine(|settings| settings.max_waiting_tokens = 60), model(folder.path()));
    let pipe = SlowModel::of(folder.path());
    let mut first = Box::pin(engine.predict(&model, ask(&"torn ".repeat(1000))));
    assert!(poll!(&mut first).is_pending());
    assert_eq!((engine.has("a"), engine.waiting_tokens()), (false, 48));
    let mut second = Box::pin(engine.predict(&model, ask("the box was torn")));
    let refused = poll!(&mut second);
    assert_eq!(refused, std::task::Poll::Ready(Err(InferenceError::Overloaded { seconds: 1 })));
    let ((), first) = tokio::join!(pipe.release(), first);
    assert!(first.unwrap()[0].is_ok());
}

#[tokio::test]
async fn who_waited_too_long_behind_another_is_told_so_and_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, model) = (engine(|settings| settings.max_queue_time = SHORT), model(folder.path()));
    engine.patient().load(&model).await.unwrap();
    let patient = engine.patient();
    let mut long = Box::pin(patient.complete(&model, write(3000)));
    assert!(poll!(&mut long).is_pending());
    assert_eq!(engine.predict(&model, ask("torn")).await, Err(InferenceError::Expired));
    assert!(poll!(&mut long).is_pending(), "the refusal did not wait for its turn");
    // Who has time waits as long as it takes.
    let (long, late) = tokio::join!(long, patient.predict(&model, ask("torn")));
    assert!(long.unwrap()[0].is_ok() && late.unwrap()[0].is_ok());
    assert_eq!((engine.waiting(), engine.waiting_tokens()), (0, 0));
}

#[tokio::test]
async fn a_search_that_waits_too_long_for_its_turn_has_not_begun() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, model) = (engine(|settings| settings.max_queue_time = SHORT), model(folder.path()));
    engine.patient().load(&model).await.unwrap();
    let search =
        |beams, tokens| write(tokens).into_iter().map(|request| CompletionRequest { beams, ..request }).collect();
    let patient = engine.patient();
    let mut long = Box::pin(patient.complete(&model, search(2, 2000)));
    assert!(poll!(&mut long).is_pending());
    // Another kind of search, which comes after it.
    assert_eq!(engine.complete(&model, search(3, 5)).await, Err(InferenceError::Expired));
    assert!(poll!(&mut long).is_pending(), "the refusal did not wait for its turn");
    assert_eq!(turned_away(&engine, "queue_time"), Some(1.0));
    drop(long);
    assert!(patient.complete(&model, search(3, 5)).await.unwrap()[0].is_ok());
}

#[tokio::test]
async fn who_waits_too_long_for_a_model_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, model) = (engine(|settings| settings.max_queue_time = SHORT), model(folder.path()));
    let pipe = SlowModel::of(folder.path());
    let asked = [ask("torn"), ask("the box")].concat();
    assert_eq!(engine.predict(&model, asked).await, Err(InferenceError::Expired));
    assert_eq!((engine.waiting(), turned_away(&engine, "queue_time")), (0, Some(2.0)));
    pipe.release().await;
    assert!(engine.patient().predict(&model, ask("torn")).await.unwrap()[0].is_ok());
}
