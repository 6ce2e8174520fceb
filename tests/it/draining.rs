//! A service that is told to stop, as a real process: what has begun ends, nothing new begins, and everybody is told.

use std::time::{Duration, Instant};

use reqwest::Response;
use serde_json::{Value, json};

use crate::support::{
    service::until,
    talking_service::{STUDENT, TalkingService, long, streamed},
    wire::Wire,
};

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_begun_is_answered_whole_and_nothing_new_begins() {
    let settings = ["--drain-notice-seconds", "5", "--request-drain-seconds", "300"];
    let mut service = TalkingService::begin(&settings).await;
    let mut silent = Wire::open(service.listen).await;
    let stream = service.stream(40).await;
    let request = long(40, 2048);
    let whole = async { service.post("/v1/completions", &request).await };
    let signalled = async {
        // The stream's rows came first and are answered first: more than half of them are still to come then.
        until("both are being answered", async || (service.admitted().await >= 60.0).then_some(())).await;
        service.stop();
        until("it is not ready", async || (service.client.status("/readyz").await == Some(503)).then_some(())).await;
        let late = service.post("/v1/predictions", &json!({"model": STUDENT, "inputs": ["late"]})).await;
        let told = ["connection", "retry-after"].map(|name| header(&late, name).map(str::to_owned));
        assert_eq!((late.status().as_u16(), told), (503, [Some("close".to_owned()), Some("2".to_owned())]));
        let words = late.json::<Value>().await.unwrap();
        assert_eq!(words["error"]["code"], "draining");
        for path in ["/v1/completions", "/v1/chat/completions", "/v2/models/any/infer"] {
            let refused = service.post(path, &json!({})).await;
            assert_eq!((refused.status().as_u16(), header(&refused, "connection")), (503, Some("close")), "{path}");
            let said = refused.json::<Value>().await.unwrap();
            let expected = if path.starts_with("/v2") { json!({"error": words["detail"]}) } else { said.clone() };
            assert_eq!(said, expected, "{path}");
            assert!(path.starts_with("/v2") || said["error"]["code"] == "draining", "{path}: {said}");
        }
        // What asks nothing of a student is answered still, for the last time on its connection.
        let other = service.client.base().to_owned() + "/v1/models";
        let other = reqwest::get(other).await.unwrap();
        assert_eq!((other.status().as_u16(), header(&other, "connection")), (200, Some("close")));
        let answer = silent.get("/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"process\":\"draining\""), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        silent.until_closed().await;
    };
    let (whole, ()) = tokio::join!(whole, signalled);
    assert_eq!(
        (whole.status().as_u16(), header(&whole, "connection")),
        (200, Some("close")),
        "it ended before the signal"
    );
    let whole: Value = whole.json().await.unwrap();
    assert_eq!(whole["usage"]["completion_tokens"], 40 * 2048, "{:#}", whole["usage"]);
    let chunks = stream.all().await;
    let ended = chunks.iter().filter(|chunk| chunk["choices"][0]["finish_reason"] == "length").count();
    assert_eq!(ended, 40, "the stream's answers are not whole");
    assert!(service.process.wait(), "a drained service ends with success");
    assert!(!service.log().contains("cut off"), "{}", service.log());
}

/// An upload in two pieces.
fn upload() -> (String, &'static str) {
    let head = "--b\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n\
                --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"rows.jsonl\"\r\n\r\n{\"input\": ";
    let rest = "\"torn\"}\n\r\n--b--\r\n";
    let length = head.len() + rest.len();
    let first = format!(
        "POST /v1/files HTTP/1.1\r\nhost: here\r\ncontent-type: multipart/form-data; boundary=b\r\n\
         content-length: {length}\r\n\r\n{head}"
    );
    (first, rest)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_begins_while_everybody_is_told_ends_whole_and_no_open_connection_is_closed_meanwhile() {
    const NOTICE: Duration = Duration::from_secs(5);
    // The notice outlasts the time that requests have to end.
    let mut service = TalkingService::begin(&["--drain-notice-seconds", "5", "--request-drain-seconds", "4"]).await;
    let (idle, mut kept) = (Wire::kept(service.listen).await, Wire::kept(service.listen).await);
    let begun = Instant::now();
    service.stop();
    until("it tells", async || (service.client.status("/readyz").await == Some(503)).then_some(())).await;
    // A client that has been answered before may be asking at this moment.
    let answer = kept.get("/v1/models").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    kept.until_closed().await;
    let (first, rest) = upload();
    let mut upload = Wire::open(service.listen).await;
    upload.write(&first).await;
    assert_eq!(service.post("/v1/completions", &long(1, 1)).await.status().as_u16(), 503);
    assert!(begun.elapsed() < NOTICE, "the machine was too slow for this test: {:?}", begun.elapsed());
    idle.until_closed().await;
    assert!(begun.elapsed() >= NOTICE, "an idle connection was closed after {:?}", begun.elapsed());
    upload.write(rest).await;
    let answer = upload.answer().await;
    assert!(answer.starts_with("HTTP/1.1 201 ") && answer.contains("\"status\":\"processed\""), "{answer}");
    upload.until_closed().await;
    assert!(service.process.wait());
    assert!(!service.log().contains("cut off"), "{}", service.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_nothing_goes_on_telling_for_a_while_that_it_ends() {
    let mut service = TalkingService::begin(&["--drain-notice-seconds", "2"]).await;
    let begun = Instant::now();
    service.stop();
    until("it tells", async || (service.client.status("/readyz").await == Some(503)).then_some(())).await;
    assert!(service.process.wait());
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_still_runs_at_the_limit_is_cut_off() {
    let mut service = TalkingService::begin(&["--request-drain-seconds", "1"]).await;
    let mut stream = service.post("/v1/completions", &streamed(long(256, 2048))).await;
    service.stop();
    let mut text = String::new();
    while let Ok(Some(bytes)) = stream.chunk().await {
        text.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    assert!(!text.contains("[DONE]"), "it was done within a second");
    assert!(service.process.wait(), "it did what it could");
    let warned = "requests were still running 1s after the last call; they are cut off connections_cut=1";
    assert!(service.log().contains(warned), "{}", service.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_draining_service_at_once() {
    let mut service = TalkingService::begin(&["--request-drain-seconds", "300"]).await;
    let _stream = service.stream(256).await;
    service.stop();
    until("it drains", async || service.log().contains("shutting down").then_some(())).await;
    service.stop();
    assert!(!service.process.wait(), "it waited for the stream");
}
