//! A teacher that replays recorded answers over real HTTP, in the shapes of OpenAI's API: for the demo, the benchmarks
//! and the tests. A request is answered by the line whose input stands in the prompt's last question block; `stop`,
//! `max_tokens` and `n` do what they do elsewhere, and tokens are counted at white space.

mod answers;
mod replies;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::net::TcpListener;

use answers::Answers;
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
        let ScriptedSettings { answers, listen, delay } = settings;
        let answers = Answers::read(&answers)?;
        let failed = |source| ScriptedError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, local_addr, script: Arc::new(Script { answers, delay }) })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// How many inputs it knows.
    pub fn known_inputs(&self) -> usize {
        self.script.answers.len()
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

#[derive(Debug)]
struct Script {
    answers: Answers,
    delay: Duration,
}

fn router(script: Arc<Script>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat_completions))
        .route("/v1/completions", post(completions))
        .route("/v1/models", get(async || axum::Json(replies::models())))
        .with_state(script)
}

async fn chat_completions(State(script): State<Arc<Script>>, body: Bytes) -> Response {
    answer(&script, Endpoint::Chat, &body).await
}

async fn completions(State(script): State<Arc<Script>>, body: Bytes) -> Response {
    answer(&script, Endpoint::Completions, &body).await
}

async fn answer(script: &Script, endpoint: Endpoint, body: &[u8]) -> Response {
    let reply = match Asked::read(endpoint, body) {
        Ok(asked) => respond(script, &asked),
        Err(reason) => (StatusCode::BAD_REQUEST, replies::error("invalid_request", &reason)),
    };
    tokio::time::sleep(script.delay).await;
    (reply.0, axum::Json(reply.1)).into_response()
}

fn respond(script: &Script, asked: &Asked) -> (StatusCode, Value) {
    match script.answers.find(&asked.question) {
        Ok(outputs) => (StatusCode::OK, asked.reply(outputs)),
        Err(block) => {
            let shown: String = block.chars().take(300).collect();
            let message = format!("no recorded answer has an input that occurs in the last question: {shown}");
            (StatusCode::NOT_FOUND, replies::error("no_recorded_answer", &message))
        }
    }
}
