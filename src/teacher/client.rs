//! One call to a teacher's chat completions or plain completions. Makes no second try by itself: the caller knows the budget and the lease.
//! The other end is not trusted: no redirect is followed (the key would go along), a reply may have 2 MiB and must not
//! trickle (`reply`), and one deadline covers everything from the connection to the last byte.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode, Url};
use sha2::{Digest, Sha256};

use super::{
    Completion, CompletionRequest, Dispensable, TeacherError, TeacherSettings,
    complaint::{Complaint, without_key},
    pace::{Near, Pace, PaceBook, Turn},
    reply::{self, ReplyFault},
    said::Reply,
    wire::Body,
};
use crate::clock::Clock;
use crate::domain::{Prices, Secret};
use crate::outbound::{self, retry};
use crate::telemetry::chain;

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
        let turn = self.near().await.turn().await;
        self.ask(turn, request).await
    }

    /// Waits until another request is one of the next that the pace allows. The wait may be given up.
    pub async fn near(&self) -> Near {
        self.pace.near().await
    }

    /// Gives up its part of the pace, at the end of a process, so that others need not wait until it expires. No call may be
    /// under way.
    pub async fn leave(&self) {
        self.pace.leave().await;
    }

    /// Asks once, at once, for callers that have waited for their turn. The turn ends with the call, and the pace is told
    /// what became of it.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub async fn ask(&self, turn: Turn, request: &CompletionRequest) -> Result<Completion, TeacherError> {
        let sent = Instant::now();
        let answer = self.send(request).await;
        match &answer {
            Ok(completion) => turn.answered(Some(completion.tokens().total())),
            Err(error) if error.is_push_back() => turn.pushed_back(sent.into(), retry::floor(error.retry_after())),
            // Whoever cannot be reached has not borne the call; what cannot be read was an answer.
            Err(TeacherError::Unreachable { .. } | TeacherError::TimedOut { .. }) => drop(turn),
            Err(_) => turn.answered(None),
        }
        answer
    }

    async fn send(&self, request: &CompletionRequest) -> Result<Completion, TeacherError> {
        let started = Instant::now();
        let mut call = self.http.post(self.endpoint.clone()).json(&Body::of(&self.settings, request));
        if let Some(key) = request.idempotency_key.as_ref().filter(|_| self.settings.sends(Dispensable::IdempotencyKey))
        {
            call = call.header("Idempotency-Key", key);
        }
        let response = call.send().await.map_err(|error| self.network_error(error))?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(response).await);
        }
        let reply = self.body(response).await?;
        self.completion(request, &reply, started.elapsed())
    }

    /// The SHA-256 of all that an answer depends on: the address with its path, and the body (model, messages, parameters,
    /// seed, schema). Neither the key nor the `Idempotency-Key` belongs to it: requests of one digest are the same question.
    /// A seed belongs to it where it is not sent as well: the answer to one sample is not the answer to another.
    pub fn request_sha256(&self, request: &CompletionRequest) -> [u8; 32] {
        let asked = (self.endpoint.as_str(), Body::of(&self.settings, request));
        let unsent = request.seed.filter(|_| !self.settings.sends(Dispensable::Seed));
        let bytes = match unsent {
            None => serde_json::to_vec(&asked),
            Some(seed) => serde_json::to_vec(&(asked, seed)),
        };
        Sha256::digest(bytes.expect("texts and numbers are always JSON")).into()
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

    fn completion(
        &self,
        request: &CompletionRequest,
        body: &[u8],
        latency: Duration,
    ) -> Result<Completion, TeacherError> {
        let Reply { choices, error, usage } =
            serde_json::from_slice(body).map_err(|error| self.unreadable(body, &error))?;
        let Some(choices) = choices else { return Err(self.no_choices(body, error.is_some())) };
        let choice = choices.into_iter().next().ok_or_else(|| self.bad_reply("it has no choices".to_owned()))?;
        let said =
            choice.said().ok_or_else(|| self.other_shape("its choice has neither a message nor a text".into()))?;
        let tokens = usage.unwrap_or_default().or(|| request.guessed(&said.text));
        Ok(Completion {
            text: said.text,
            finish_reason: said.finish_reason,
            input_tokens: tokens.input,
            output_tokens: tokens.output,
            latency,
        })
    }

    /// The error of a reply whose status is not 200. A body that does not come is no worse than an empty one.
    async fn refused(&self, response: Response) -> TeacherError {
        let status = response.status();
        let retry_after = retry::retry_after(response.headers(), self.clock.now());
        let body = self.body(response).await.unwrap_or_default();
        Complaint::read(&body, self.key.as_ref()).into_error(self.name(), status, retry_after)
    }

    /// The error of a reply of status 200 that is an object without choices. Some gateways send the errors of the servers
    /// behind them like that.
    fn no_choices(&self, body: &[u8], is_error: bool) -> TeacherError {
        let complaint = Complaint::read(body, self.key.as_ref());
        let status = complaint.code.parse().ok().and_then(|code: u16| StatusCode::from_u16(code).ok());
        match status.filter(|status| is_error && (status.is_client_error() || status.is_server_error())) {
            Some(status) => complaint.into_error(self.name(), status, None),
            None if is_error => self.other_shape(format!("it is an error: {}", complaint.message)),
            None => self.other_shape("its JSON is something else: it has no choices".to_owned()),
        }
    }

    fn unreadable(&self, body: &[u8], error: &serde_json::Error) -> TeacherError {
        let reason = reply::unreadable(body, error);
        if error.is_data() { self.other_shape(reason) } else { self.bad_reply(reason) }
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
        let reason = without_key(reason, self.key.as_ref());
        TeacherError::BadReply { teacher: self.settings.name.clone(), reason }
    }

    fn other_shape(&self, reason: String) -> TeacherError {
        let reason = without_key(reason, self.key.as_ref());
        TeacherError::OtherShape { teacher: self.settings.name.clone(), reason }
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
