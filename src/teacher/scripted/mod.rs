//! A teacher that replays recorded answers over real HTTP, in the shapes of OpenAI's API: for the demo, the benchmarks
//! and the tests. A request is answered by the line whose input stands in the prompt's last question block; `stop`,
//! `max_tokens` and `n` do what they do elsewhere, and tokens are counted at white space.
//!
//! It keeps books of what it was asked (`GET /tally`), may remember answers by their `Idempotency-Key`, and does a mix of
//! things wrong when told to (`faults`): the teacher that tests of paid calls need.

mod answers;
mod faults;
mod mix;
mod record;
mod replies;
mod spoiled;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::clock::Clock;
use answers::Answers;
use faults::Fault;
pub use faults::Faults;
pub use mix::FaultMix;
use record::Record;
pub use record::{Memory, Tally};
use replies::{Asked, Endpoint};

/// What is replayed, and where.
#[derive(Debug, Clone)]
pub struct ScriptedSettings {
    /// JSONL, one object a line: `input`, and `llm_output` or the list `llm_outputs` by sample; other fields are ignored.
    pub answers: PathBuf,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How long it thinks about each answer.
    pub delay: Duration,
    /// What it does wrong; none: nothing.
    pub faults: Option<Faults>,
    /// Whether a repeated `Idempotency-Key` is answered from memory.
    pub memory: Memory,
}

impl ScriptedSettings {
    /// A teacher on a free port of this machine that answers at once, forgets, and does nothing wrong.
    pub fn new(answers: PathBuf) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { answers, listen, delay: Duration::ZERO, faults: None, memory: Memory::None }
    }
}

/// Why the scripted teacher cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ScriptedError {
    /// The file of answers cannot be read.
    #[error("cannot read answers from {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A line of it is not an answer.
    #[error("{} line {line}: {reason}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The address is taken or not this machine's.
    #[error("cannot listen on {listen}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Serving broke off.
    #[error("the scripted teacher stopped serving")]
    Serve(#[source] std::io::Error),
}

/// A scripted teacher that already listens.
#[derive(Debug)]
pub struct ScriptedTeacher {
    listener: TcpListener,
    local_addr: SocketAddr,
    script: Arc<Script>,
}

impl ScriptedTeacher {
    /// Reads the answers and opens the port.
    ///
    /// # Errors
    /// Where the file is missing or wrong, naming the line, or the address cannot be had.
    pub async fn bind(settings: ScriptedSettings) -> Result<Self, ScriptedError> {
        let ScriptedSettings { answers, listen, delay, faults, memory } = settings;
        let answers = Answers::read(&answers)?;
        let failed = |source| ScriptedError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let script = Script { answers, delay, record: Record::new(memory, faults), clock: Clock::system() };
        Ok(Self { listener, local_addr, script: Arc::new(script) })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// How many inputs it knows.
    pub fn known_inputs(&self) -> usize {
        self.script.answers.len()
    }

    /// Its books, which go on while it runs.
    pub fn books(&self) -> Books {
        Books(Arc::clone(&self.script.record))
    }

    /// Answers until `shutdown` is done.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ScriptedError> {
        let served = axum::serve(self.listener, router(self.script)).with_graceful_shutdown(shutdown);
        served.await.map_err(ScriptedError::Serve)
    }
}

/// Binds and answers until `shutdown` is done.
pub async fn serve(
    settings: ScriptedSettings,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ScriptedError> {
    let teacher = ScriptedTeacher::bind(settings).await?;
    tracing::info!(listen = %teacher.local_addr(), inputs = teacher.known_inputs(), "scripted teacher listens");
    teacher.run(shutdown).await
}

/// The books of a scripted teacher that runs.
#[derive(Debug, Clone)]
pub struct Books(Arc<Record>);

impl Books {
    /// What they say so far.
    pub fn tally(&self) -> Tally {
        self.0.tally()
    }
}

#[derive(Debug)]
struct Script {
    answers: Answers,
    delay: Duration,
    record: Arc<Record>,
    clock: Clock,
}

fn router(script: Arc<Script>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat_completions))
        .route("/v1/completions", post(completions))
        .route("/v1/models", get(async || axum::Json(replies::models())))
        .route("/tally", get(tally))
        .with_state(script)
}

async fn chat_completions(State(script): State<Arc<Script>>, headers: HeaderMap, body: Bytes) -> Response {
    answer(&script, Endpoint::Chat, &headers, &body).await
}

async fn completions(State(script): State<Arc<Script>>, headers: HeaderMap, body: Bytes) -> Response {
    answer(&script, Endpoint::Completions, &headers, &body).await
}

async fn tally(State(script): State<Arc<Script>>) -> axum::Json<Tally> {
    axum::Json(script.record.tally())
}

async fn answer(script: &Script, endpoint: Endpoint, headers: &HeaderMap, body: &[u8]) -> Response {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let call = match script.record.enter(key, body) {
        Ok(call) => call,
        Err(reason) => return refusal(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", &reason),
    };
    if let Some(turned_away) = call.fault.and_then(|fault| spoiled::turned_away(fault, &script.clock)) {
        return turned_away;
    }
    let asked = match Asked::read(endpoint, body) {
        Ok(asked) => asked,
        Err(reason) => return refusal(StatusCode::BAD_REQUEST, "invalid_request", &reason),
    };
    let (status, reply) = respond(script, &asked, call.fault);
    // Whoever goes away while it thinks is charged all the same.
    call.charge(Asked::tokens(&reply));
    tokio::time::sleep(script.delay).await;
    if let Some(Fault::Hang(time)) = call.fault {
        tokio::time::sleep(time).await;
    }
    match call.fault.filter(|_| status == StatusCode::OK) {
        Some(fault) => spoiled::body(fault, reply.to_string().into_bytes(), call),
        None => (status, axum::Json(reply)).into_response(),
    }
}

fn refusal(status: StatusCode, code: &str, reason: &str) -> Response {
    (status, axum::Json(replies::error(code, reason))).into_response()
}

fn respond(script: &Script, asked: &Asked, fault: Option<Fault>) -> (StatusCode, Value) {
    match script.answers.find(&asked.question) {
        Ok(outputs) => (StatusCode::OK, asked.reply(outputs, fault)),
        Err(block) => {
            let shown: String = block.chars().take(300).collect();
            let message = format!("no recorded answer has an input that occurs in the last question: {shown}");
            // A 404 would say that there is no such model.
            (StatusCode::UNPROCESSABLE_ENTITY, replies::error("no_recorded_answer", &message))
        }
    }
}
