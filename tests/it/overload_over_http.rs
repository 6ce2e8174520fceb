//! The engine's queue behind the API: a place in it is free when the response is over, and not before.

use std::time::Duration;

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{Request, StatusCode},
    response::Response,
};
use futures::StreamExt;
use serde_json::{Value, json};
use stepwise::{
    api::{AppState, Rooms, router},
    domain::ServingPrecision,
    inference::{Engine, EngineSettings},
};
use tokio::{task::yield_now, time::timeout};
use tower::ServiceExt;

use crate::support::{
    app::TestApp,
    asking_routes::asking_routes,
    student::{desk_labels, write_student},
};

/// Nothing that a test waits for takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(120);

/// A service whose engine holds one input at a time.
async fn narrow() -> (TestApp, AppState) {
    let app = TestApp::start().await;
    write_student(&app, "desk", desk_labels());
    let settings = EngineSettings { max_waiting: 1, ..EngineSettings::on_cpu(1, ServingPrecision::Fp32) };
    let engine = Engine::start(settings).unwrap();
    let state = AppState::new(Rooms { engine, ..app.rooms.clone() });
    (app, state)
}

/// A response of which nothing is read yet.
async fn send(state: &AppState, path: &str, body: &Value) -> Response {
    let request = Request::post(path).header("content-type", "application/json").body(Body::from(body.to_string()));
    router(state.clone()).oneshot(request.unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_response_holds_its_place_until_it_is_read_or_dropped() {
    let (_app, state) = narrow().await;
    for (path, body) in asking_routes("desk", "late") {
        let response = send(&state, &path, &body).await;
        assert_eq!((response.status(), state.engine.waiting()), (StatusCode::OK, 1), "{path}");
        let length: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
        let refused = send(&state, &path, &body).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS, "{path}");
        assert_eq!(refused.headers()["retry-after"], "1", "{path}");
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        assert_eq!((bytes.len(), state.engine.waiting()), (length, 0), "{path}");
        assert!(serde_json::from_slice::<Value>(&bytes).unwrap().is_object(), "{path}");
        let response = send(&state, &path, &body).await;
        assert_eq!((response.status(), state.engine.waiting()), (StatusCode::OK, 1), "{path}");
        drop(response);
        assert_eq!(state.engine.waiting(), 0, "{path}");
    }
}

#[tokio::test]
async fn a_stream_holds_its_place_to_its_last_chunk() {
    let (_app, state) = narrow().await;
    for (path, mut body) in asking_routes("desk", "late").into_iter().skip(1).take(2) {
        body["stream"] = json!(true);
        for is_read in [true, false] {
            let response = send(&state, &path, &body).await;
            assert_eq!((response.status(), state.engine.waiting()), (StatusCode::OK, 1), "{path}");
            if is_read {
                let (mut chunks, mut last) = (response.into_body().into_data_stream(), Bytes::new());
                while !last.ends_with(b"data: [DONE]\n\n") {
                    assert_eq!(state.engine.waiting(), 1, "{path}: after {last:?}");
                    let chunk = timeout(PATIENCE, chunks.next()).await.expect("the stream stands still");
                    last = chunk.expect("the stream ends without its end").unwrap();
                }
                // The server asks once more, and learns that this was all.
                assert!(chunks.next().await.is_none(), "{path}");
            } else {
                drop(response);
            }
            // What nobody follows any more is found between two steps.
            let free = async {
                while state.engine.waiting() > 0 {
                    yield_now().await;
                }
            };
            timeout(PATIENCE, free).await.unwrap_or_else(|_| panic!("{path}: the place is held for ever"));
        }
    }
}
