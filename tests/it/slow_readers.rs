//! Clients that ask and then read slowly, or not at all: what an answer holds is theirs for a while, and not for ever.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use stepwise::api::serve;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::yield_now,
    time::timeout,
};

use crate::support::{
    app::{DRAIN, TestApp},
    student::{desk_labels, write_student},
};

/// Nothing that a test waits for takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a service allows that has little patience.
const BRIEF: Duration = Duration::from_millis(200);

/// As many as may be asked for at once.
const ANSWERS: usize = 16;

/// A request whose answer is larger than all buffers between server and client: the text of the prompt comes back with each answer, and
/// spaces side by side are one token.
fn large() -> Value {
    let prompt = format!("late{}order", " ".repeat(400_000));
    json!({"model": "desk", "prompt": prompt, "echo": true, "n": ANSWERS, "temperature": 1, "max_tokens": 1})
}

/// One that is streamed, as large by its many chunks.
fn large_stream() -> Value {
    let prompts = vec!["late"; ANSWERS];
    json!({"model": "desk", "prompt": prompts, "stream": true, "logprobs": 5, "max_tokens": 2000, "min_tokens": 2000})
}

/// A service with a student.
async fn desk() -> TestApp {
    let app = TestApp::start().await;
    write_student(&app, "desk", desk_labels());
    app
}

/// The same service on another socket, where a client may read nothing only briefly.
async fn brief(app: &TestApp) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, app.state.clone(), BRIEF, DRAIN));
    address
}

/// Waits until no place in the engine's queue is taken any more.
async fn until_free(app: &TestApp) {
    let free = async {
        while app.state.engine.waiting() > 0 {
            yield_now().await;
        }
    };
    timeout(PATIENCE, free).await.expect("places are held for ever");
}

/// Sends a request and reads the head of the response, and a little more.
async fn head_of_answer(address: SocketAddr, body: &Value) -> (TcpStream, String, Vec<u8>) {
    let body = body.to_string();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
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
    assert!(head.starts_with("HTTP/1.1 200"), "{head}{}", String::from_utf8_lossy(&bytes[end..]));
    (stream, head, bytes.split_off(end))
}

fn length(head: &str) -> usize {
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    length.unwrap_or_else(|| panic!("{head}"))
}

/// What a connection still gives.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A connection that is cut may end with an error, which is an end as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection is not cut");
    bytes
}

#[tokio::test]
async fn a_slow_reader_holds_its_places_and_one_who_goes_gives_them_back() {
    let app = desk().await;
    let waiting = || app.state.engine.waiting();
    let (mut slow, head, mut body) = head_of_answer(app.address, &large()).await;
    // Nothing is computed any more, and the server has had all the time that it needs.
    app.state.engine.warm_up().await.unwrap();
    assert_eq!((app.get("/healthz").await.status, waiting()), (200, ANSWERS));
    let length = length(&head);
    while body.len() < length {
        assert!(slow.read_buf(&mut body).await.unwrap() > 0, "{} of {length} bytes", body.len());
    }
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["choices"].as_array().unwrap().len(), ANSWERS);
    until_free(&app).await;
    let (gone, _, _) = head_of_answer(app.address, &large()).await;
    assert_eq!(waiting(), ANSWERS);
    drop(gone);
    until_free(&app).await;
}

#[tokio::test]
async fn who_reads_nothing_of_an_answer_is_cut_off_and_gives_its_places_back() {
    let app = desk().await;
    let (silent, head, begun) = head_of_answer(brief(&app).await, &large()).await;
    until_free(&app).await;
    let found = begun.len() + rest(silent).await.len();
    assert!(found < length(&head), "{found} bytes have come");
}

#[tokio::test]
async fn who_reads_nothing_of_a_stream_is_cut_off_and_gives_its_places_back() {
    let app = desk().await;
    let (silent, _, _) = head_of_answer(brief(&app).await, &large_stream()).await;
    until_free(&app).await;
    let found = rest(silent).await;
    assert!(!String::from_utf8_lossy(&found).contains("[DONE]"), "{} bytes have come", found.len());
}

#[tokio::test]
async fn an_answer_that_lies_unread_on_a_connection_of_several_is_broken_off() {
    let app = desk().await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge();
    let client = client.http2_initial_stream_window_size(1 << 16).build().unwrap();
    let address = brief(&app).await;
    let ask = client.post(format!("http://{address}/v1/completions")).json(&large());
    let silent = ask.send().await.unwrap();
    assert_eq!((silent.status().as_u16(), silent.version()), (200, reqwest::Version::HTTP_2));
    until_free(&app).await;
    // The others of the connection are not.
    let other = client.get(format!("http://{address}/v1/models")).send().await.unwrap();
    assert_eq!(other.json::<Value>().await.unwrap()["data"].as_array().unwrap().len(), 1);
    assert!(silent.bytes().await.is_err(), "the answer has come whole");
}
