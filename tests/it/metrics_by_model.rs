//! `/metrics`: figures by model, in a form that Prometheus reads, and bounded in number.

use std::{collections::BTreeSet, time::Instant};

use futures::poll;
use serde_json::json;
use stepwise::{
    domain::{ServingPrecision, StudentCard, TaskDefinition},
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
    let settings = EngineSettings { max_batch: 4, ..EngineSettings::on_cpu(1, ServingPrecision::Fp32) };
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

#[tokio::test]
async fn what_is_asked_within_a_call_is_no_input_of_its_own_and_its_tokens_count() {
    let folder = tempfile::tempdir().unwrap();
    small_checkpoint(folder.path(), &StudentCard::default());
    let engine = Engine::start(EngineSettings::on_cpu(1, ServingPrecision::Fp32)).unwrap();
    let model = ModelFiles::folder("a", folder.path().to_owned());
    let value = |name: &str, labels: &[(&str, &str)]| {
        let found = Exposition::of_engine(&engine).value(&format!("stepwise_inference_{name}"), labels);
        found.unwrap_or_else(|| panic!("there is no {name}"))
    };
    let one = [("model", "a")];
    let counted = || {
        let times = ["queue_time", "time_to_first_token", "time_per_output_token", "e2e_latency"];
        let times = times.map(|time| value(&format!("{time}_seconds_count"), &one));
        (value("requests_total", &[("model", "a"), ("outcome", "answered")]), times)
    };
    let ask = PredictionRequest { input: "the box was torn".to_owned(), max_tokens: Some(3), ..Default::default() };
    let (_, places) = engine.predict_held(&model, vec![ask]).await.unwrap();
    let (before, written) = (counted(), value("generation_tokens_total", &one));
    assert_eq!(before.0, 1.0);
    // The first question waits for its model, which is longer than it takes to read it.
    let load = Exposition::of_engine(&engine).value("stepwise_model_load_seconds_sum", &[]).unwrap();
    assert!(load > 0.0 && value("queue_time_seconds_sum", &one) >= load);
    let dictated = Some("refund".to_owned());
    let prompt = Prompt::Text("predict: the box was torn".to_owned());
    let again = CompletionRequest { prompt, dictated, logprobs: Some(0), ..CompletionRequest::default() };
    let tokens = engine.complete_within(&places, &model, vec![again]).await.unwrap().remove(0).unwrap();
    assert_eq!(counted(), before);
    assert_eq!(value("generation_tokens_total", &one), written + tokens.completion_tokens as f64);
    assert!(tokens.completion_tokens > 1);
}

#[tokio::test]
async fn a_model_that_has_made_room_for_a_broken_one_of_its_name_leaves_no_series() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    folders.iter().for_each(|folder| small_checkpoint(folder.path(), &StudentCard::default()));
    std::fs::write(folders[1].path().join("model.safetensors"), b"no tensors").unwrap();
    let settings = EngineSettings { max_models: 1, ..EngineSettings::on_cpu(1, ServingPrecision::Fp32) };
    let engine = Engine::start(settings).unwrap();
    let of = |folder: &tempfile::TempDir, key: &str| ModelFiles {
        name: "desk".to_owned(),
        ..ModelFiles::folder(key, folder.path().to_owned())
    };
    engine.load(&of(&folders[0], "as it was")).await.unwrap();
    assert_eq!(Exposition::of_engine(&engine).models(), BTreeSet::from(["desk"]));
    assert!(engine.load(&of(&folders[1], "changed")).await.is_err());
    let found = Exposition::of_engine(&engine);
    assert_eq!((found.models(), found.value("stepwise_models_loaded", &[])), (BTreeSet::new(), Some(0.0)));
}

#[tokio::test]
async fn an_input_is_read_once_however_much_is_written_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let task = TaskDefinition { label_set: desk_labels(), ..TaskDefinition::default() };
    small_checkpoint(folder.path(), &StudentCard { task, max_input_length: 512, ..StudentCard::default() });
    let engine = Engine::start(EngineSettings::on_cpu(1, ServingPrecision::Fp32)).unwrap();
    let model = ModelFiles::folder("a", folder.path().to_owned());
    let reads = || {
        let figure = |of: &str| {
            let name = format!("stepwise_inference_read_size_{of}");
            Exposition::of_engine(&engine).value(&name, &[("model", "a")]).unwrap_or(0.0)
        };
        (figure("count"), figure("sum"))
    };
    let since = |(count, sum): (f64, f64)| (reads().0 - count, reads().1 - sum);
    let ask = || PredictionRequest { input: "the box was torn".to_owned(), ..PredictionRequest::default() };
    let prompt = || Prompt::Text("the box was torn".to_owned());
    let write = |beams: usize| CompletionRequest {
        prompt: prompt(),
        beams,
        max_tokens: 40,
        min_tokens: 40,
        ..CompletionRequest::default()
    };
    for (asked, passes, inputs) in [
        (vec![PredictionRequest { generated_label: true, ..ask() }], 1.0, 1.0),
        // Several answers to one input, and another input beside them.
        (vec![ask(), ask(), PredictionRequest { input: "torn".to_owned(), ..ask() }], 1.0, 2.0),
        // A rationale is asked for under a prefix of its own, and consistency with the rationale below the input.
        (vec![PredictionRequest { rationale: true, ..ask() }], 2.0, 2.0),
        (vec![PredictionRequest { consistency: true, ..ask() }], 3.0, 3.0),
    ] {
        let before = reads();
        engine.predict(&model, asked.clone()).await.unwrap().into_iter().for_each(|answer| drop(answer.unwrap()));
        assert_eq!(since(before), (passes, inputs), "{asked:?}");
    }
    for beams in [1, 3] {
        let before = reads();
        engine.complete(&model, vec![write(beams), write(beams)]).await.unwrap().remove(0).unwrap();
        assert_eq!(since(before), (1.0, 1.0), "{beams} beams");
    }
}
