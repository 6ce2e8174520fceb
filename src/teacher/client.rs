//! One call to a teacher's chat completions or plain completions. Makes no second try by itself: the caller knows the budget and the lease.
//! The other end is not trusted: no redirect is followed (the key would go along), a reply may have 2 MiB and must not
//! trickle (`reply`), and one deadline covers everything from the connection to the last byte.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode, Url};
use sha2::{Digest, Sha256};

use super::wire::{Body, Complaint, Reply, ResponseFormat};
use super::{
    TeacherError, TeacherSettings,
    pace::{Pace, PaceBook, Turn},
    reply::{self, ReplyFault},
};
use crate::clock::Clock;
use crate::domain::{Prices, Secret, TeacherApi};
use crate::outbound::{self, retry};
use crate::task::prompt::{self, AnswerSchema, Message};
use crate::telemetry::chain;

/// What is asked in one call.
#[derive(Debug, Clone)]
pub struct CompletionRequest {
    /// The prompt.
    pub messages: Vec<Message>,
    /// Sampling temperature; 0 takes the likeliest token.
    pub temperature: f64,
    /// Tokens that the answer may have.
    pub max_output_tokens: u32,
    /// Texts at which the teacher stops; at most four.
    pub stop: Vec<String>,
    /// The sampling seed: which of several samples this is. Without it, and at temperature 0, they are all alike.
    pub seed: Option<u64>,
    /// What the answer must be; sent where the teacher's `json_schema` says that it can be held to one.
    pub answer_schema: Option<AnswerSchema>,
    /// Sent as `Idempotency-Key`: the same for every try of the same question.
    pub idempotency_key: Option<String>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The teacher's text; its refusal where it sent one instead.
    pub text: String,
    /// `stop`, `length` (cut off at the token limit), `content_filter`, …
    pub finish_reason: Option<String>,
    /// Tokens of the prompt, by the teacher's count; 0 where it counts none.
    pub input_tokens: i64,
    /// Tokens of the answer, by the teacher's count; 0 where it counts none.
    pub output_tokens: i64,
    /// From sending the request to the last byte.
    pub latency: Duration,
}

/// A teacher, ready to be asked. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct TeacherClient {
    settings: TeacherSettings,
    endpoint: Url,
    key: Option<Secret>,
    http: reqwest::Client,
    pace: Arc<Pace>,
    clock: Clock,
}

impl TeacherClient {
    /// Checks the settings and finds the key; asks nothing yet.
    ///
    /// # Errors
    /// `Settings` where the address cannot be used, the key's variable is not set, or the machine lacks the certificates
    /// that an https address needs.
    pub fn new(settings: TeacherSettings) -> Result<Self, TeacherError> {
        let endpoint = settings.endpoint()?;
        let key = settings.key()?;
        let misconfigured = |reason: String| TeacherError::Settings { teacher: settings.name.clone(), reason };
        let headers = headers(key.as_ref()).ok_or_else(|| misconfigured("the API key is not ASCII text".to_owned()))?;
        let http = http_client(&settings, &endpoint, headers).map_err(|error| misconfigured(chain(&error)))?;
        let pace = Pace::alone(settings.name.clone(), settings.limits());
        Ok(Self { settings, endpoint, key, http, pace, clock: Clock::system() })
    }

    /// The same teacher, asked at the pace that this book keeps: that of all who keep it there, and not of this client alone.
    pub fn at_the_pace_of(self, book: Arc<dyn PaceBook>) -> Self {
        let pace = Pace::new(self.settings.name.clone(), self.settings.limits(), book);
        Self { pace, ..self }
    }

    /// The name that requests use.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Requests that may be under way at once.
    pub fn max_concurrency(&self) -> usize {
        self.settings.max_concurrency
    }

    /// Its prices.
    pub fn prices(&self) -> Prices {
        self.settings.prices()
    }

    /// Asks once, when the pace allows it.
    ///
    /// # Errors
    /// Says what happened; `TeacherError::is_retryable` says whether the same request may succeed later.
    pub async fn complete(&self, request: &CompletionRequest) -> Result<Completion, TeacherError> {
        let turn = self.turn().await;
        self.ask(turn, request).await
    }

    /// Waits until the pace allows another request. Nothing is under way meanwhile: the wait may be given up.
    pub async fn turn(&self) -> Turn {
        self.pace.turn().await
    }

    /// Asks once, at once, for callers that have waited for their turn. The turn ends with the call, and the pace is told
    /// what became of it.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub async fn ask(&self, turn: Turn, request: &CompletionRequest) -> Result<Completion, TeacherError> {
        let turn = turn.in_time().await;
        let sent = Instant::now();
        let answer = self.send(request).await;
        match &answer {
            Ok(completion) => turn.answered(Some(completion.input_tokens + completion.output_tokens)),
            Err(error) if error.is_push_back() => turn.pushed_back(sent.into(), retry::floor(error.retry_after())),
            // Whoever cannot be reached has not borne the call; what cannot be read was an answer.
            Err(TeacherError::Unreachable { .. } | TeacherError::TimedOut { .. }) => drop(turn),
            Err(_) => turn.answered(None),
        }
        answer
    }

    async fn send(&self, request: &CompletionRequest) -> Result<Completion, TeacherError> {
        let started = Instant::now();
        let mut call = self.http.post(self.endpoint.clone()).json(&self.body_of(request));
        if let Some(key) = &request.idempotency_key {
            call = call.header("Idempotency-Key", key);
        }
        let response = call.send().await.map_err(|error| self.network_error(error))?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(response).await);
        }
        let reply = self.body(response).await?;
        self.completion(&reply, started.elapsed())
    }

    /// The SHA-256 of all that an answer depends on: the address with its path, and the body (model, messages, parameters,
    /// seed, schema). Neither the key nor the `Idempotency-Key` belongs to it: requests of one digest are the same question.
    pub fn request_sha256(&self, request: &CompletionRequest) -> [u8; 32] {
        let asked = (self.endpoint.as_str(), self.body_of(request));
        let bytes = serde_json::to_vec(&asked).expect("texts and numbers are always JSON");
        Sha256::digest(bytes).into()
    }

    fn body_of<'a>(&'a self, request: &'a CompletionRequest) -> Body<'a> {
        let schema = request.answer_schema.as_ref().filter(|_| self.settings.json_schema);
        let (messages, prompt) = match self.settings.api {
            TeacherApi::Chat => (Some(request.messages.as_slice()), None),
            TeacherApi::Completions => (None, Some(prompt::as_text(&request.messages))),
        };
        Body {
            model: &self.settings.model,
            messages,
            prompt,
            temperature: request.temperature,
            max_tokens: request.max_output_tokens,
            stop: &request.stop,
            seed: request.seed,
            response_format: schema.map(ResponseFormat::of),
        }
    }

    async fn body(&self, response: Response) -> Result<Vec<u8>, TeacherError> {
        let teacher = || self.settings.name.clone();
        reply::read(response, self.settings.request_timeout).await.map_err(|fault| match fault {
            ReplyFault::TooLarge(reason) => self.bad_reply(reason),
            ReplyFault::TooSlow(reason) => TeacherError::TooSlow { teacher: teacher(), reason },
            ReplyFault::Network(error) if error.is_timeout() => self.network_error(error),
            ReplyFault::Network(error) => TeacherError::BrokenOff { teacher: teacher(), source: error.without_url() },
        })
    }

    fn completion(&self, body: &[u8], latency: Duration) -> Result<Completion, TeacherError> {
        let reply: Reply =
            serde_json::from_slice(body).map_err(|error| self.bad_reply(reply::unreadable(body, &error)))?;
        let choice = reply.choices.into_iter().next();
        let mut choice = choice.ok_or_else(|| self.bad_reply("it has no choices".to_owned()))?;
        let no_text = || self.bad_reply("its choice has neither a message nor a text".to_owned());
        let usage = reply.usage.unwrap_or_default();
        Ok(Completion {
            text: choice.take_text().ok_or_else(no_text)?,
            finish_reason: choice.finish_reason,
            input_tokens: usage.prompt_tokens.max(0),
            output_tokens: usage.completion_tokens.max(0),
            latency,
        })
    }

    /// The error of a reply whose status is not 200. A body that does not come is no worse than an empty one.
    async fn refused(&self, response: Response) -> TeacherError {
        let status = response.status();
        let retry_after = retry::retry_after(response.headers(), self.clock.now());
        let body = self.body(response).await.unwrap_or_default();
        let Complaint { message, code } = Complaint::read(&body);
        let (teacher, message) = (self.settings.name.clone(), self.without_key(message));
        match status {
            // A spent quota does not come back by waiting.
            StatusCode::PAYMENT_REQUIRED => TeacherError::NotServed { teacher, status, message },
            _ if matches!(code.as_str(), "insufficient_quota" | "model_not_found") => {
                TeacherError::NotServed { teacher, status, message }
            }
            StatusCode::TOO_MANY_REQUESTS => TeacherError::RateLimited { teacher, message, retry_after },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => TeacherError::RefusedKey { teacher, status, message },
            _ => TeacherError::Status { teacher, status, message, retry_after },
        }
    }

    fn network_error(&self, error: reqwest::Error) -> TeacherError {
        let teacher = self.settings.name.clone();
        // A host that never answers the connection is not there; one that took the request is slow.
        if error.is_timeout() && !error.is_connect() {
            return TeacherError::TimedOut { teacher, limit: self.settings.request_timeout };
        }
        TeacherError::Unreachable { teacher, base_url: self.settings.base_url.clone(), source: error.without_url() }
    }

    fn bad_reply(&self, reason: String) -> TeacherError {
        TeacherError::BadReply { teacher: self.settings.name.clone(), reason }
    }

    /// Some servers repeat the key that they refuse.
    fn without_key(&self, message: String) -> String {
        self.key.as_ref().map_or(message.clone(), |key| message.replace(key.reveal(), "…"))
    }
}

fn headers(key: Option<&Secret>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Some(key) = key {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.reveal())).ok()?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Some(headers)
}

fn http_client(settings: &TeacherSettings, endpoint: &Url, headers: HeaderMap) -> reqwest::Result<reqwest::Client> {
    outbound::client_for(endpoint)
        .timeout(settings.request_timeout)
        .connect_timeout(settings.request_timeout.min(Duration::from_secs(10)))
        .pool_max_idle_per_host(settings.max_concurrency)
        .default_headers(headers)
        .build()
}
