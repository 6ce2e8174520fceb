//! A teacher in the test's own process that says what the test wants said, and remembers what it was asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use stepwise::{
    domain::JobKind,
    shutdown::Shutdown,
    teacher::{TeacherClient, TeacherSettings},
    worker::{Worker, work_once},
};

use super::{app::TestApp, listening::serve};

/// Tokens of every prompt and of every answer, by this teacher's count.
pub const PROMPT_TOKENS: i64 = 100;
pub const ANSWER_TOKENS: i64 = 20;

/// One question as the teacher heard it.
#[derive(Debug, Clone)]
pub struct Heard {
    /// The messages as they came.
    pub messages: Value,
    /// All of them, one after the other.
    pub prompt: String,
    /// Which sample.
    pub seed: Option<u64>,
    pub temperature: f64,
    pub idempotency_key: String,
}

/// A teacher that answers each question by a rule.
#[derive(Clone)]
pub struct Talker {
    pub address: SocketAddr,
    memory: Arc<Memory>,
}

type Rule = dyn Fn(&Heard) -> Response + Send + Sync;

struct Memory {
    rule: Box<Rule>,
    heard: Mutex<Vec<Heard>>,
}

impl Talker {
    /// A teacher with a text, or a status, for each question.
    pub async fn start(rule: impl Fn(&Heard) -> Result<String, StatusCode> + Send + Sync + 'static) -> Self {
        Self::replying(move |heard| match rule(heard) {
            Err(status) => (status, "not now").into_response(),
            Ok(text) => completion(json!({"content": text}), "stop"),
        })
        .await
    }

    /// A teacher with any reply for each question.
    pub async fn replying(rule: impl Fn(&Heard) -> Response + Send + Sync + 'static) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let memory = Arc::new(Memory { rule: Box::new(rule), heard: Mutex::default() });
        let router = Router::new().route("/v1/chat/completions", post(answer)).with_state(Arc::clone(&memory));
        Self { address: serve(router).await, memory }
    }

    /// The questions so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.memory.heard.lock().unwrap().clone()
    }

    /// A worker that asks this teacher by the names that the API knows: `scripted`, which is free, and `large`, which costs 2
    /// dollars for a million prompt tokens and 10 for a million answer tokens.
    pub fn worker(&self, app: &TestApp) -> Arc<Worker> {
        let mut worker = Arc::into_inner(app.worker()).unwrap();
        let base_url = format!("http://{}/v1", self.address);
        let mut free = TeacherSettings::new("scripted", &base_url, "m");
        free.max_concurrency = 4;
        let mut large = TeacherSettings { name: "large".to_owned(), ..free.clone() };
        large.usd_per_million_input_tokens = 2.0;
        large.usd_per_million_output_tokens = 10.0;
        worker.teachers = [free, large].map(|settings| TeacherClient::new(settings).unwrap()).to_vec();
        Arc::new(worker)
    }

    /// Submits an annotation and works on it until its attempt ends; the job as it stands then.
    pub async fn annotate(&self, app: &TestApp, request: Value) -> Value {
        let submitted = app.post("/v1/annotation-jobs", request).await;
        assert_eq!(submitted.status, 201, "{:#}", submitted.body);
        self.work(app).await;
        app.get(&format!("/v1/jobs/{}", submitted.id())).await.body
    }

    /// Works on the next annotation until its attempt ends.
    pub async fn work(&self, app: &TestApp) {
        assert!(work_once(&self.worker(app), &[JobKind::Annotation], &Shutdown::new()).await.unwrap(), "no job waits");
    }
}

/// A reply of this message that ended for this reason.
pub fn completion(message: Value, finish_reason: &str) -> Response {
    axum::Json(json!({
        "choices": [{"message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": ANSWER_TOKENS},
    }))
    .into_response()
}

async fn answer(State(memory): State<Arc<Memory>>, headers: HeaderMap, body: axum::Json<Value>) -> Response {
    let messages = body["messages"].as_array().unwrap().iter();
    let heard = Heard {
        messages: body["messages"].clone(),
        prompt: messages.map(|message| message["content"].as_str().unwrap()).collect::<Vec<_>>().join("\n"),
        seed: body["seed"].as_u64(),
        temperature: body["temperature"].as_f64().unwrap(),
        idempotency_key: headers["idempotency-key"].to_str().unwrap().to_owned(),
    };
    memory.heard.lock().unwrap().push(heard.clone());
    (memory.rule)(&heard)
}
