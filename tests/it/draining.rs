//! A service that is told to stop, as a real process: what has begun ends, nothing new begins, and everybody is told.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use reqwest::Response;
use serde_json::{Value, json};
use stepwise::domain::LabelSet;
use tempfile::TempDir;

use crate::support::{
    database::TestDatabase,
    service::{Client, Process, free_address, until},
    sse::EventStream,
    student::write_student_to,
};

/// A running `stepwise serve` with a student that writes for as long as it is asked to.
struct Service {
    folder: TempDir,
    listen: SocketAddr,
    client: Client,
    process: Process,
    model: String,
    _database: TestDatabase,
}

impl Service {
    /// With these settings of its end.
    async fn begin(settings: &[&str]) -> Self {
        let (folder, database, listen) = (tempfile::tempdir().unwrap(), TestDatabase::new().await, free_address());
        let address = listen.to_string();
        let (data, models) = (folder.path().join("data"), folder.path().join("models"));
        let folders = ["--data-dir", data.to_str().unwrap(), "--models-dir", models.to_str().unwrap()];
        let arguments = [&["serve", "--listen", &address, "--threads", "1"], &folders[..], settings].concat();
        let log = folder.path().join("serve.log");
        let process = Process::start(&arguments, &[("DATABASE_URL", database.url.as_str())], &log);
        let client = Client::new(listen);
        client.until_ready().await;
        let mut service = Self { folder, listen, client, process, model: String::new(), _database: database };
        service.model = service.talker().await;
        service
    }

    /// The first random student that says something.
    async fn talker(&self) -> String {
        for seed in 0..500 {
            let name = format!("student-{seed}");
            write_student_to(&self.folder.path().join("models").join(&name), LabelSet::Open, seed);
            let said = self.client.post("/v1/completions", &long(&name, 1, 32)).await;
            if said["choices"][0]["text"].as_str().unwrap().chars().filter(char::is_ascii_alphabetic).count() > 8 {
                return name;
            }
        }
        panic!("no random student says anything");
    }

    /// A request over a connection of its own.
    async fn post(&self, path: &str, body: &Value) -> Response {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.post(format!("http://{}{path}", self.listen)).json(body).send().await.unwrap()
    }

    async fn stream(&self, prompts: usize) -> EventStream {
        let mut request = long(&self.model, prompts, 2048);
        request["stream"] = json!(true);
        let mut stream = EventStream::of(self.post("/v1/completions", &request).await);
        stream.chunk().await;
        stream
    }

    /// Inputs that wait or are being answered.
    async fn admitted(&self) -> u64 {
        let metrics = self.client.text("/metrics").await;
        let line = "stepwise_inference_admitted{of=\"requests\"} ";
        metrics.lines().find_map(|found| found.strip_prefix(line)).unwrap().parse().unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("serve.log")).unwrap()
    }
}

/// A request for so many tokens of each prompt, no more and no less.
fn long(model: &str, prompts: usize, tokens: usize) -> Value {
    json!({"model": model, "prompt": vec!["explain: refund"; prompts], "max_tokens": tokens, "min_tokens": tokens})
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

/// A connection that has been answered once and is kept open.
fn kept_connection(listen: SocketAddr) -> TcpStream {
    let mut connection = TcpStream::connect(listen).unwrap();
    connection.write_all(b"GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let mut bytes = [0; 1024];
        let count = connection.read(&mut bytes).unwrap();
        assert!(count > 0, "the connection was closed");
        answer.extend_from_slice(&bytes[..count]);
    }
    assert!(!String::from_utf8(answer).unwrap().to_lowercase().contains("connection:"));
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_begun_is_answered_whole_and_nothing_new_begins() {
    let settings = ["--drain-notice-seconds", "5", "--request-drain-seconds", "300"];
    let mut service = Service::begin(&settings).await;
    let (mut idle, silent) = (kept_connection(service.listen), TcpStream::connect(service.listen).unwrap());
    let stream = service.stream(40).await;
    let request = long(&service.model, 40, 2048);
    let whole = async { service.post("/v1/completions", &request).await };
    let signalled = async {
        // The stream's rows came first and are answered first: more than half of them are still to come then.
        until("both are being answered", async || (service.admitted().await >= 60).then_some(())).await;
        service.process.signal(libc::SIGTERM);
        until("it is not ready", async || (service.client.status("/readyz").await == Some(503)).then_some(())).await;
        let ready = service.post("/v1/predictions", &json!({"model": service.model, "inputs": ["late"]})).await;
        let told = ["connection", "retry-after"].map(|name| header(&ready, name).map(str::to_owned));
        assert_eq!((ready.status().as_u16(), told), (503, [Some("close".to_owned()), Some("2".to_owned())]));
        assert_eq!(ready.json::<Value>().await.unwrap()["error"]["code"], "draining");
        for path in ["/v1/completions", "/v1/chat/completions", "/v2/models/any/infer"] {
            let refused = service.post(path, &json!({})).await;
            assert_eq!((refused.status().as_u16(), header(&refused, "connection")), (503, Some("close")), "{path}");
        }
        // What asks nothing of a student is answered still, for the last time on its connection.
        let other = service.client.base().to_owned() + "/v1/models";
        let other = reqwest::get(other).await.unwrap();
        assert_eq!((other.status().as_u16(), header(&other, "connection")), (200, Some("close")));
        assert_eq!(idle.read(&mut [0]).unwrap(), 0, "a connection that waits for nothing is kept");
        // Its request may have been on its way.
        let mut silent = silent;
        silent.write_all(b"GET /readyz HTTP/1.1\r\nhost: here\r\n\r\n").unwrap();
        let mut answer = String::new();
        silent.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"process\":\"draining\""), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_nothing_goes_on_telling_for_a_while_that_it_ends() {
    let mut service = Service::begin(&["--drain-notice-seconds", "2"]).await;
    let begun = Instant::now();
    service.process.signal(libc::SIGTERM);
    until("it tells", async || (service.client.status("/readyz").await == Some(503)).then_some(())).await;
    assert!(service.process.wait());
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_still_runs_at_the_limit_is_cut_off() {
    let mut service = Service::begin(&["--request-drain-seconds", "1"]).await;
    let mut request = long(&service.model, 256, 2048);
    request["stream"] = json!(true);
    let mut stream = service.post("/v1/completions", &request).await;
    service.process.signal(libc::SIGTERM);
    let mut text = String::new();
    while let Ok(Some(bytes)) = stream.chunk().await {
        text.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    assert!(!text.contains("[DONE]"), "it was done within a second");
    assert!(service.process.wait(), "it did what it could");
    assert!(
        service.log().contains("requests were still running 1s after the signal; they are cut off connections_cut=1")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_draining_service_at_once() {
    let mut service = Service::begin(&["--request-drain-seconds", "300"]).await;
    let _stream = service.stream(256).await;
    service.process.signal(libc::SIGTERM);
    until("it drains", async || service.log().contains("shutting down").then_some(())).await;
    service.process.signal(libc::SIGTERM);
    assert!(!service.process.wait(), "it waited for the stream");
}
