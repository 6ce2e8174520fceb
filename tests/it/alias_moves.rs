//! Aliases that move while they are asked: no request is dropped, and each is answered by the old model or by the new one.

use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::json;
use stepwise::inference::EngineSettings;

use crate::support::{
    app::{Answer, TestApp, usual_engine},
    exposition::Exposition,
    service::until,
};

pub async fn ask(app: &TestApp, model: &str) -> Answer {
    app.post("/v1/predictions", json!({"model": model, "inputs": ["late"], "include": ["label_probs"]})).await
}

pub async fn put(app: &TestApp, alias: &str, model: &str) -> Answer {
    let body = json!({"model": model});
    app.request(Method::PUT, &format!("/v1/aliases/{alias}"), |request| request.json(&body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_that_moves_under_traffic_drops_no_request() {
    const CLIENTS: usize = 4;
    const MOVES: usize = 20;
    let app = TestApp::start().await;
    for name in ["desk-1", "desk-2"] {
        app.model(name).await;
    }
    assert_eq!(put(&app, "live", "desk-1").await.status, 201);
    assert_eq!(ask(&app, "live").await.body["model"], "desk-1");
    let moved = tokio_util::sync::CancellationToken::new();
    let client = async || {
        let mut seen = Vec::new();
        while !moved.is_cancelled() {
            let answer = ask(&app, "live").await;
            assert_eq!(answer.status, 200, "{:#}", answer.body);
            seen.push(answer.body["model"].as_str().unwrap().to_owned());
        }
        seen
    };
    let moves = async {
        for at in 0..MOVES {
            let model = ["desk-2", "desk-1"][at % 2];
            let answer = put(&app, "live", model).await;
            assert_eq!((answer.status, &answer.body["model"]), (200, &json!(model)));
            let answer = ask(&app, "live").await;
            assert_eq!(answer.body["model"], model, "an answer after the move is the new model's");
        }
        moved.cancel();
    };
    let clients = futures::future::join_all((0..CLIENTS).map(|_| client()));
    let ((), seen) = tokio::join!(moves, clients);
    let seen: Vec<String> = seen.into_iter().flatten().collect();
    assert!(seen.iter().all(|model| ["desk-1", "desk-2"].contains(&model.as_str())), "{seen:?}");
    assert!(seen.contains(&"desk-1".to_owned()) && seen.contains(&"desk-2".to_owned()), "{seen:?}");
}

/// How many inputs of a model are being answered.
async fn running(app: &TestApp, model: &str) -> f64 {
    let shown = Exposition::of(app).await;
    shown.value("stepwise_inference_requests_running", &[("model", model)]).unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_moves_while_its_model_streams_and_there_is_room_for_one() {
    const ANSWERS: usize = 128;
    let app = TestApp::start_with_engine(EngineSettings { max_models: 1, max_waiting: 512, ..usual_engine() }).await;
    let (first, second) = (app.model("desk-1").await, app.model("desk-2").await);
    put(&app, "live", "desk-1").await;
    assert_eq!(ask(&app, "live").await.body["model"], "desk-1");
    let prompts = vec!["late"; ANSWERS];
    let long = json!({"model": "live", "prompt": prompts, "max_tokens": 2048, "min_tokens": 2048, "stream": true});
    let stream = app.stream("/v1/completions", &long).await;
    until("its answers are written", async || (running(&app, "desk-1").await > 0.0).then_some(())).await;
    let moved = AtomicBool::new(false);
    let moves = async {
        let answer = put(&app, "live", "desk-2").await;
        moved.store(true, Ordering::Relaxed);
        answer
    };
    let asks = async {
        let mut seen = Vec::new();
        while !moved.load(Ordering::Relaxed) {
            let answer = ask(&app, "live").await;
            assert_eq!(answer.status, 200, "{:#}", answer.body);
            seen.push(answer.body["model"].as_str().unwrap().to_owned());
        }
        seen
    };
    assert!(running(&app, "desk-1").await > 0.0, "the stream was over before the alias moved");
    let (answer, seen, chunks) = tokio::join!(moves, asks, stream.all());
    assert_eq!((answer.status, &answer.body["model"]), (200, &json!("desk-2")));
    assert!(seen.iter().all(|model| ["desk-1", "desk-2"].contains(&model.as_str())), "{seen:?}");
    assert!(chunks.iter().all(|chunk| chunk["model"] == "desk-1"), "the stream changed its model");
    let ended = chunks.iter().filter(|chunk| chunk["choices"][0]["finish_reason"] == "length").count();
    assert_eq!(ended, ANSWERS, "the stream's answers are not whole");
    assert_eq!(ask(&app, "live").await.body["model"], "desk-2");
    let in_memory = [&first, &second].map(|model| app.state.engine.has(&model.manifest_sha256));
    assert_eq!(in_memory, [false, true]);
}
