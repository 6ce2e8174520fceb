//! The engine's queue behind the API: a place in it is free when the response is over, and not before.

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
    response::Response,
};
use serde_json::{Value, json};
use stepwise::{
    api::{AppState, Rooms, router},
    domain::Precision,
    inference::{Engine, EngineSettings},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::yield_now,
};
use tower::ServiceExt;

use crate::support::{
    app::TestApp,
    student::{desk_labels, write_student},
};

/// Every way to ask, as a request of one input.
fn ways() -> [(&'static str, Value); 4] {
    let message = json!({"role": "user", "content": "late"});
    let tensor = json!({"name": "text", "shape": [1], "datatype": "BYTES", "data": ["late"]});
    [
        ("/v1/predictions", json!({"model": "desk", "inputs": ["late"]})),
        ("/v1/completions", json!({"model": "desk", "prompt": "late", "max_tokens": 2})),
        ("/v1/chat/completions", json!({"model": "desk", "messages": [message], "logprobs": true})),
        ("/v2/models/desk/infer", json!({"inputs": [tensor]})),
    ]
}

/// A service whose engine holds one input at a time.
async fn narrow() -> (TestApp, AppState) {
    let app = TestApp::start().await;
    write_student(&app, "desk", desk_labels());
    let settings = EngineSettings { max_waiting: 1, ..EngineSettings::on_cpu(1, Precision::Fp32) };
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
    for (path, body) in ways() {
        let response = send(&state, path, &body).await;
        assert_eq!((response.status(), state.engine.waiting()), (StatusCode::OK, 1), "{path}");
        let length: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
        let refused = send(&state, path, &body).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS, "{path}");
        assert_eq!(refused.headers()["retry-after"], "1", "{path}");
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        assert_eq!((bytes.len(), state.engine.waiting()), (length, 0), "{path}");
        assert!(serde_json::from_slice::<Value>(&bytes).unwrap().is_object(), "{path}");
        let response = send(&state, path, &body).await;
        assert_eq!((response.status(), state.engine.waiting()), (StatusCode::OK, 1), "{path}");
        drop(response);
        assert_eq!(state.engine.waiting(), 0, "{path}");
    }
}

#[tokio::test]
async fn a_stream_holds_its_place_to_its_last_chunk() {
    let (_app, state) = narrow().await;
    for (path, mut body) in ways().into_iter().skip(1).take(2) {
        body["stream"] = json!(true);
        for is_read in [true, false] {
            let response = send(&state, path, &body).await;
            assert_eq!((response.status(), state.engine.waiting()), (StatusCode::OK, 1), "{path}");
            if is_read {
                let text = to_bytes(response.into_body(), 1 << 20).await.unwrap();
                assert!(text.ends_with(b"data: [DONE]\n\n"), "{path}");
            } else {
                drop(response);
            }
            // What nobody follows any more is found between two steps.
            while state.engine.waiting() > 0 {
                yield_now().await;
            }
        }
    }
}

/// As many as may be asked for at once.
const ANSWERS: usize = 16;

/// Sends a request whose answer is larger than all buffers between server and client, and reads the head of the response. The text of
/// the prompt comes back with each answer; spaces side by side are one token.
async fn head_of_large_answer(app: &TestApp) -> (TcpStream, String, Vec<u8>) {
    let body = json!({
        "model": "desk", "prompt": format!("late{}order", " ".repeat(400_000)), "echo": true, "n": ANSWERS, "temperature": 1, "max_tokens": 1,
    });
    let body = body.to_string();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(app.address).await.unwrap();
    let head = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let end = loop {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    (stream, head, bytes.split_off(end))
}

#[tokio::test]
async fn a_slow_reader_holds_its_places_and_one_who_goes_gives_them_back() {
    let app = TestApp::start().await;
    write_student(&app, "desk", desk_labels());
    let waiting = || app.state.engine.waiting();
    let (mut slow, head, mut body) = head_of_large_answer(&app).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}{}", String::from_utf8_lossy(&body));
    // Nothing is computed any more, and the server has had all the time that it needs.
    app.state.engine.warm_up().await.unwrap();
    assert_eq!((app.get("/healthz").await.status, waiting()), (200, ANSWERS));
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let length: usize = length.unwrap_or_else(|| panic!("{head}"));
    while body.len() < length {
        assert!(slow.read_buf(&mut body).await.unwrap() > 0, "{} of {length} bytes", body.len());
    }
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["choices"].as_array().unwrap().len(), ANSWERS);
    while waiting() > 0 {
        yield_now().await;
    }
    let (gone, _, _) = head_of_large_answer(&app).await;
    assert_eq!(waiting(), ANSWERS);
    drop(gone);
    while waiting() > 0 {
        yield_now().await;
    }
}
