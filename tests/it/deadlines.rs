//! How long a client waits, by its own header, and how long the queue lets it wait: two bounds that are told apart.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use stepwise::{
    api::{AppState, Rooms, keep_pinned_once},
    domain::LabelSet,
    inference::EngineSettings,
};

use crate::{
    api_openai::{INPUT, complete, with_talker, write_talker},
    support::{
        app::{Answer, TestApp, usual_engine},
        service::until,
    },
};

const HEADER: &str = "stepwise-timeout";

/// A request that nobody has answered within a second: as many prompts as the queue has places, with so many tokens each.
fn endless() -> Value {
    json!({"model": "tiny", "prompt": vec!["explain: refund"; 64], "max_tokens": 2048, "min_tokens": 2048})
}

fn prediction() -> Value {
    json!({"model": "tiny", "inputs": [INPUT]})
}

async fn post_within(app: &TestApp, seconds: &str, path: &str, body: &Value) -> Answer {
    app.request(Method::POST, path, |request| request.header(HEADER, seconds).json(body)).await
}

/// Waits until nobody has a place in the queue.
async fn until_free(app: &TestApp) {
    until("the places are free", async || (app.state.engine.waiting() == 0).then_some(())).await;
    assert_eq!(app.state.engine.waiting_tokens(), 0);
}

/// How many answers the engine has given in whole.
async fn answered(app: &TestApp) -> f64 {
    let metrics = String::from_utf8(app.get("/metrics").await.bytes).unwrap();
    let series = "stepwise_inference_requests_total{model=\"tiny\",outcome=\"answered\"} ";
    metrics.lines().find_map(|line| line.strip_prefix(series)).map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn beyond_its_deadline_a_request_is_dropped_wherever_it_is() {
    let app = with_talker(LabelSet::Open).await;
    let before = answered(&app).await;
    // Some of it is being written, the rest waits.
    let late = post_within(&app, "0.25", "/v1/completions", &endless()).await;
    let detail = late.refused(504, "deadline_exceeded", "");
    assert!(detail.contains("within the 0.25 s"), "{detail}");
    assert_eq!((&late.headers["x-should-retry"], late.headers.get("retry-after")), (&"false".parse().unwrap(), None));
    assert_eq!(late.body["error"]["type"], "timeout_error");
    until_free(&app).await;
    assert!(answered(&app).await - before < 64.0, "it was answered all the same");
    assert_eq!(complete(&app, json!({})).await.status, 200);
}

#[tokio::test]
async fn every_route_that_asks_a_student_keeps_the_deadline_and_answers_within_it() {
    let app = with_talker(LabelSet::Open).await;
    let chat = json!({"model": "tiny", "messages": [{"role": "user", "content": INPUT}]});
    let tensor = json!({"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [INPUT]}]});
    let prompt = json!({"model": "tiny", "prompt": INPUT});
    let routes = [
        ("/v1/predictions", prediction()),
        ("/v1/chat/completions", chat),
        ("/v1/completions", prompt),
        ("/v2/models/tiny/infer", tensor),
    ];
    for (path, body) in &routes {
        assert_eq!(post_within(&app, "86400", path, body).await.status, 200, "{path}");
        for wrong in ["0", "-1", "soon", "inf", "86401", "", "2.5s"] {
            let refused = post_within(&app, wrong, path, body).await;
            let said = String::from_utf8(refused.bytes).unwrap();
            assert_eq!(refused.status, 400, "{path} {wrong}: {said}");
            assert!(said.contains("Stepwise-Timeout") && said.contains("such as 2.5"), "{path} {wrong}: {said}");
        }
    }
    post_within(&app, "soon", "/v1/predictions", &prediction()).await.refused(
        400,
        "invalid_value",
        "#/Stepwise-Timeout",
    );
    let twice = app.request(Method::POST, "/v1/predictions", |request| {
        request.header(HEADER, "1").header(HEADER, "2").json(&prediction())
    });
    twice.await.refused(400, "invalid_value", "#/Stepwise-Timeout");
}

#[tokio::test]
async fn a_streams_deadline_is_its_last_chunk_and_frees_its_places() {
    let app = with_talker(LabelSet::Open).await;
    let mut stream = app.stream_with("/v1/completions", &streamed(endless()), &[(HEADER, "1")]).await;
    let (mut last, mut pieces) = (Value::Null, 0);
    while let Some(data) = stream.next().await {
        last = serde_json::from_str(&data).unwrap_or_else(|_| panic!("{data} after an error"));
        pieces += 1;
    }
    assert!(pieces > 10, "{pieces} pieces in a second");
    assert_eq!(
        (&last["error"]["code"], &last["error"]["type"]),
        (&json!("deadline_exceeded"), &json!("timeout_error"))
    );
    until_free(&app).await;
}

#[tokio::test]
async fn a_deadline_and_the_queues_own_bound_are_told_apart() {
    let settings = EngineSettings { max_batch: 1, max_queue_time: Duration::from_millis(500), ..usual_engine() };
    let app = TestApp::start_with_engine(settings).await;
    write_talker(&app, LabelSet::Open).await;
    let pinned = AppState::new(Rooms { pinned: vec!["tiny".to_owned()], ..app.rooms.clone() });
    assert!(keep_pinned_once(&pinned).await.is_empty());
    let mut request = streamed(endless());
    request["prompt"] = json!(vec!["explain: refund"; 60]);
    let mut busy = app.stream("/v1/completions", &request).await;
    busy.chunk().await;
    let late = app.post("/v1/predictions", prediction()).await;
    let detail = late.refused(503, "queue_timeout", "");
    assert!(detail.contains("max_queue_seconds") && late.headers.contains_key("retry-after"), "{detail}");
    assert!(!late.headers.contains_key("x-should-retry"));
    let impatient = post_within(&app, "0.1", "/v1/predictions", &prediction()).await;
    impatient.refused(504, "deadline_exceeded", "");
    assert_eq!(post_within(&app, "60", "/v1/predictions", &prediction()).await.code(), "queue_timeout");
    drop(busy);
    until_free(&app).await;
}

fn streamed(mut request: Value) -> Value {
    request["stream"] = json!(true);
    request
}
