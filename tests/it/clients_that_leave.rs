//! Clients that close their connection while their question waits: nothing of it is ever computed.

use serde_json::json;
use stepwise::{domain::LabelSet, inference::EngineSettings};

use crate::{
    api_openai::write_talker,
    support::{
        app::{TestApp, usual_engine},
        asking_routes::asking_routes,
        exposition::Exposition,
        service::until,
        student::{desk_labels, write_student},
        wire::Wire,
    },
};

/// A figure of a model; none counts as 0.
async fn figure(app: &TestApp, name: &str, labels: &[(&str, &str)]) -> f64 {
    Exposition::of(app).await.value(&format!("stepwise_inference_{name}"), labels).unwrap_or(0.0)
}

#[tokio::test]
async fn what_a_client_asked_who_left_while_it_waited_is_never_computed() {
    const DESK: (&str, &str) = ("model", "desk");
    let app = TestApp::start_with_engine(EngineSettings { max_batch: 1, max_waiting: 512, ..usual_engine() }).await;
    write_talker(&app, LabelSet::Open).await;
    write_student(&app, "desk", desk_labels());
    let ask = async || app.post("/v1/predictions", json!({"model": "desk", "inputs": ["late"]})).await.status;
    assert_eq!(ask().await, 200);
    // One answer of the other student is written, and many more wait before whoever comes now.
    let prompts = vec!["explain: refund"; 256];
    let long = json!({"model": "tiny", "prompt": prompts, "max_tokens": 2048, "min_tokens": 2048, "stream": true});
    let mut busy = app.stream("/v1/completions", &long).await;
    busy.chunk().await;
    for (path, body) in asking_routes("desk", "late") {
        let body = body.to_string();
        let mut client = Wire::open(app.address).await;
        let head = format!("POST {path} HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n");
        client.write(&format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await;
        let waiting = async |count: f64| (figure(&app, "requests_waiting", &[DESK]).await == count).then_some(());
        until("its question waits", async || waiting(1.0).await).await;
        drop(client);
        until("its question is gone", async || waiting(0.0).await).await;
        assert_eq!(figure(&app, "requests_running", &[("model", "tiny")]).await, 1.0, "nobody had to wait");
    }
    drop(busy);
    // Behind whatever is computed still, and what was asked after them all is answered.
    app.state.engine.warm_up().await.unwrap();
    assert_eq!(ask().await, 200);
    let outcomes = ["answered", "failed"].map(|outcome| [DESK, ("outcome", outcome)]);
    let [answered, failed] = [0, 1].map(|place| &outcomes[place]);
    let counted = (
        figure(&app, "queue_time_seconds_count", &[DESK]).await,
        figure(&app, "requests_total", answered).await,
        figure(&app, "requests_total", failed).await,
    );
    assert_eq!(counted, (2.0, 2.0, 0.0), "begun, answered and failed: of those who stayed alone");
}
