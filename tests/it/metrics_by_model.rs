//! `/metrics`: figures by model, in a form that Prometheus reads, and bounded in number.

use std::{collections::BTreeSet, time::Instant};

use futures::poll;
use serde_json::json;
use stepwise::{
    domain::{Precision, StudentCard, TaskDefinition},
    inference::{CompletionRequest, Engine, EngineSettings, ModelFiles, News, PredictionRequest, Prompt},
};

use super::student::small_checkpoint;
use crate::support::{
    app::TestApp,
    exposition::Exposition,
    student::{desk_labels, write_seeded_student},
};

#[tokio::test]
async fn figures_come_by_model_and_only_of_models_in_memory() {
    let app = TestApp::start().await;
    for (seed, name) in ["desk-1", "desk-2", "desk-3"].into_iter().enumerate() {
        write_seeded_student(&app, name, desk_labels(), seed as u64);
    }
    let ask = async |model: &str| {
        let body = json!({"model": model, "inputs": ["late", "torn"], "include": ["rationale"]});
        app.post("/v1/predictions", body).await.status
    };
    let before = Exposition::of(&app).await;
    assert_eq!((before.models(), before.value("stepwise_models_loaded", &[])), (BTreeSet::new(), Some(0.0)));
    assert_eq!((ask("desk-1").await, ask("desk-2").await, ask("made up").await), (200, 200, 404));
    let found = Exposition::of(&app).await;
    assert_eq!(found.models(), BTreeSet::from(["desk-1", "desk-2"]));
    let one = [("model", "desk-1")];
    let answered = [("model", "desk-1"), ("outcome", "answered")];
    assert_eq!(found.value("stepwise_inference_requests_total", &answered), Some(2.0));
    for gauge in ["running", "waiting"] {
        assert_eq!(found.value(&format!("stepwise_inference_requests_{gauge}"), &one), Some(0.0));
    }
    for histogram in ["queue_time_seconds", "time_to_first_token_seconds", "e2e_latency_seconds"] {
        assert_eq!(found.value(&format!("stepwise_inference_{histogram}_count"), &one), Some(2.0), "{histogram}");
    }
    for some in [
        "inference_prompt_tokens_total",
        "inference_generation_tokens_total",
        "inference_batch_size_count",
        "model_memory_bytes",
    ] {
        assert!(found.value(&format!("stepwise_{some}"), &one).unwrap() > 0.0, "{some}");
    }
    assert_eq!(found.value("stepwise_models_loaded", &[]), Some(2.0));
    assert_eq!(found.value("stepwise_model_loads_total", &[("outcome", "loaded")]), Some(2.0));
    // There is room for two: the third takes the place of the first, and of its series.
    assert_eq!(ask("desk-3").await, 200);
    let found = Exposition::of(&app).await;
    assert_eq!(found.models(), BTreeSet::from(["desk-2", "desk-3"]));
    assert_eq!(found.value("stepwise_model_evictions_total", &[]), Some(1.0));
    std::fs::write(app.models_dir.join("desk-1/model.safetensors"), b"no tensors").unwrap();
    assert_eq!(ask("desk-1").await, 400);
    let found = Exposition::of(&app).await;
    assert_eq!(found.value("stepwise_model_loads_total", &[("outcome", "failed")]), Some(1.0));
    for of in ["requests", "tokens"] {
        assert_eq!(found.value("stepwise_inference_admitted", &[("of", of)]), Some(0.0));
    }
}

#[tokio::test]
async fn an_engine_counts_what_it_computes_and_what_waits_while_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let task = TaskDefinition { label_set: desk_labels(), ..TaskDefinition::default() };
    small_checkpoint(folder.path(), &StudentCard { task, ..StudentCard::default() });
    let settings = EngineSettings { max_batch: 4, ..EngineSettings::on_cpu(1, Precision::Fp32) };
    let (engine, model) = (Engine::start(settings).unwrap(), ModelFiles::folder("a", folder.path().to_owned()));
    let value = |name: &str| {
        Exposition::of_engine(&engine).value(&format!("stepwise_inference_{name}"), &[("model", "a")]).unwrap_or(0.0)
    };
    let write = |beams: usize, tokens: usize| {
        let prompt = Prompt::Text("the box was torn".to_owned());
        CompletionRequest { prompt, beams, max_tokens: tokens, min_tokens: tokens, ..CompletionRequest::default() }
    };
    let batches = || (value("batch_size_count"), value("batch_size_sum"));
    // Labels are weighed in one pass of the decoder.
    let ask = |input: &str| PredictionRequest { input: input.to_owned(), ..PredictionRequest::default() };
    assert_eq!(engine.predict(&model, vec![ask("torn"), ask("on day nine")]).await.unwrap().len(), 2);
    assert_eq!((batches(), value("time_per_output_token_seconds_count")), ((1.0, 2.0), 0.0));
    // A search computes all its beginnings at each step, and has its first token long before its last.
    engine.complete(&model, vec![write(3, 10)]).await.unwrap().remove(0).unwrap();
    assert_eq!(batches(), (11.0, 32.0));
    assert_eq!(value("time_per_output_token_seconds_count"), 1.0);
    let of_all = |name: &str| value(&format!("{name}_seconds_sum"));
    let (after_first, latency) = (of_all("time_per_output_token") * 9.0, of_all("e2e_latency"));
    assert!(after_first > 0.0);
    assert!(
        (latency - of_all("time_to_first_token") - after_first).abs() < 1e-6,
        "nine of ten tokens come after the first"
    );
    // A row at a time, and whoever comes behind it waits.
    let mut long = engine.follow_completions(&model, vec![write(1, 300_000)]).await.unwrap();
    assert!(matches!(long.next().await, Some((0, News::Fragment(_)))));
    let queue_time = of_all("queue_time");
    let mut behind = Box::pin(engine.complete(&model, vec![write(1, 5), write(1, 5)]));
    assert!(poll!(&mut behind).is_pending());
    let both_wait = Instant::now();
    engine.warm_up().await.unwrap();
    assert_eq!((value("requests_running"), value("requests_waiting")), (1.0, 2.0));
    let waited = both_wait.elapsed().as_secs_f64();
    assert_eq!(of_all("queue_time"), queue_time, "it is counted when the waiting ends");
    drop(long);
    assert!(behind.await.unwrap().iter().all(Result::is_ok));
    let counted = of_all("queue_time") - queue_time;
    assert!(waited > 0.0 && counted >= 2.0 * waited, "two waited for {waited} s, and {counted} s are counted");
    assert_eq!((value("requests_running"), value("requests_waiting")), (0.0, 0.0));
    assert_eq!((value("time_per_output_token_seconds_count"), value("generation_tokens_total")), (3.0, 20.0));
}
