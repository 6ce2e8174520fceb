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
        asking_routes::asking_routes,
        exposition::Exposition,
        service::until,
        sse::EventStream,
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

/// How many inputs the engine has begun to answer, and how many answers it has given in whole.
async fn begun_and_answered(app: &TestApp) -> [f64; 2] {
    let shown = Exposition::of(app).await;
    let begun = shown.value("stepwise_inference_queue_time_seconds_count", &[("model", "tiny")]);
    let answered = [("model", "tiny"), ("outcome", "answered")];
    [begun, shown.value("stepwise_inference_requests_total", &answered)].map(Option::unwrap)
}

#[tokio::test]
async fn beyond_its_deadline_a_request_is_dropped_wherever_it_is() {
    let app = TestApp::start_with_engine(EngineSettings { max_batch: 1, ..usual_engine() }).await;
    write_talker(&app, LabelSet::Open).await;
    let before = begun_and_answered(&app).await;
    // One answer of it is being written, the rest waits.
    let late = post_within(&app, "0.5", "/v1/completions", &endless()).await;
    let detail = late.refused(504, "deadline_exceeded", "");
    assert!(detail.contains("within the 0.5 s"), "{detail}");
    assert_eq!((&late.headers["x-should-retry"], late.headers.get("retry-after")), (&"false".parse().unwrap(), None));
    assert_eq!(late.body["error"]["type"], "timeout_error");
    until_free(&app).await;
    // Behind whatever is computed still.
    app.state.engine.warm_up().await.unwrap();
    let after = begun_and_answered(&app).await;
    let [begun, answered] = [after[0] - before[0], after[1] - before[1]];
    assert!(begun < 64.0, "{begun} inputs were begun: what waited was not dropped");
    // The one that was being written, unless it was between two of them.
    assert!((0.0..=1.0).contains(&(begun - answered)), "{begun} begun, {answered} answered");
    assert_eq!(complete(&app, json!({})).await.status, 200);
    assert_eq!(
        begun_and_answered(&app).await,
        after.map(|count| count + 1.0),
        "the dropped ones were answered after all"
    );
}

#[tokio::test]
async fn every_route_that_asks_a_student_keeps_the_deadline_and_answers_within_it() {
    let app = with_talker(LabelSet::Open).await;
    for (path, body) in &asking_routes("tiny", INPUT) {
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
async fn beyond_its_deadline_every_route_that_asks_a_student_answers_504_in_its_own_form() {
    let (app, busy) = busy_app(Duration::from_secs(60)).await;
    for (path, body) in &asking_routes("tiny", INPUT) {
        let late = post_within(&app, "0.1", path, body).await;
        let words = late.body["error"].as_str().map_or_else(|| late.detail().to_owned(), str::to_owned);
        assert!(words.contains("within the 0.1 s"), "{path}: {words}");
        assert_eq!((late.status, &late.headers["x-should-retry"]), (504, &"false".parse().unwrap()), "{path}");
        if path.starts_with("/v2/") {
            assert_eq!(late.body, json!({"error": words}), "{path}");
        } else {
            late.refused(504, "deadline_exceeded", "");
        }
    }
    drop(busy);
    until_free(&app).await;
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
    let (app, busy) = busy_app(Duration::from_millis(500)).await;
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

/// A service that writes an input at a time, and is at the first of sixty, with places for a few more.
async fn busy_app(max_queue_time: Duration) -> (TestApp, EventStream) {
    let app = TestApp::start_with_engine(EngineSettings { max_batch: 1, max_queue_time, ..usual_engine() }).await;
    write_talker(&app, LabelSet::Open).await;
    let pinned = AppState::new(Rooms { pinned: vec!["tiny".to_owned()], ..app.rooms.clone() });
    assert!(keep_pinned_once(&pinned).await.is_empty());
    let mut request = streamed(endless());
    request["prompt"] = json!(vec!["explain: refund"; 60]);
    let mut busy = app.stream("/v1/completions", &request).await;
    busy.chunk().await;
    (app, busy)
}

fn streamed(mut request: Value) -> Value {
    request["stream"] = json!(true);
    request
}
