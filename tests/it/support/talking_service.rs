//! A real `stepwise serve` with a student that writes for as long as it is asked to.

use std::{fs, net::SocketAddr};

use reqwest::Response;
use serde_json::{Value, json};
use stepwise::domain::LabelSet;
use tempfile::TempDir;

use super::{
    database::TestDatabase,
    exposition::Exposition,
    service::{Client, Process, free_address},
    sse::EventStream,
    student::write_talker,
};

/// Its student.
pub const STUDENT: &str = "tiny";

/// The running process.
pub struct TalkingService {
    folder: TempDir,
    pub listen: SocketAddr,
    pub client: Client,
    pub process: Process,
    _database: TestDatabase,
}

impl TalkingService {
    /// With these settings.
    pub async fn begin(settings: &[&str]) -> Self {
        let (folder, database, listen) = (tempfile::tempdir().unwrap(), TestDatabase::new().await, free_address());
        let address = listen.to_string();
        let (data, models) = (folder.path().join("data"), folder.path().join("models"));
        let folders = ["--data-dir", data.to_str().unwrap(), "--models-dir", models.to_str().unwrap()];
        let arguments = [&["serve", "--listen", &address, "--threads", "1"], &folders[..], settings].concat();
        let log = folder.path().join("serve.log");
        let process = Process::start(&arguments, &[("DATABASE_URL", database.url.as_str())], &log);
        let client = Client::new(listen);
        client.until_ready().await;
        let said = async || client.post("/v1/completions", &long(1, 16)).await;
        write_talker(&models.join(STUDENT), LabelSet::Open, said).await;
        Self { folder, listen, client, process, _database: database }
    }

    /// Tells it to stop.
    pub fn stop(&self) {
        self.process.signal(libc::SIGTERM);
    }

    /// A request over a connection of its own.
    pub async fn post(&self, path: &str, body: &Value) -> Response {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.post(format!("http://{}{path}", self.listen)).json(body).send().await.unwrap()
    }

    /// A stream of so many answers that has begun.
    pub async fn stream(&self, prompts: usize) -> EventStream {
        let mut stream = EventStream::of(self.post("/v1/completions", &streamed(long(prompts, 2048))).await);
        stream.chunk().await;
        stream
    }

    /// Inputs that wait or are being answered.
    pub async fn admitted(&self) -> f64 {
        let shown = Exposition::of_service(&self.client).await;
        shown.value("stepwise_inference_admitted", &[("of", "requests")]).unwrap()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("serve.log")).unwrap()
    }
}

/// A request for so many tokens of each prompt, no more and no less.
pub fn long(prompts: usize, tokens: usize) -> Value {
    json!({"model": STUDENT, "prompt": vec!["explain: refund"; prompts], "max_tokens": tokens, "min_tokens": tokens})
}

/// The same as a stream.
pub fn streamed(mut request: Value) -> Value {
    request["stream"] = json!(true);
    request
}
