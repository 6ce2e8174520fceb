//! The running service as `watch` asks it. Reads loosely: a newer service may say more.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    domain::{JobError, JobKind, JobState, Secret},
    outbound::install_tls,
    telemetry::chain,
};

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest page of a list.
const PAGE: usize = 1000;

/// Why there is no answer.
#[derive(Debug)]
pub enum Trouble {
    /// The service cannot be reached or cannot answer now; it may come back.
    Away(String),
    /// It has no such job.
    NoSuchJob(String),
    /// It does not answer this question, now or later.
    Refused(String),
}

/// A job as far as it is watched.
#[derive(Debug, Clone, Deserialize)]
pub struct Job {
    pub kind: JobKind,
    pub state: JobState,
    pub progress: Option<Progress>,
    pub queue: Option<Place>,
    #[serde(default)]
    pub depends_on: Vec<String>,
    pub result: Option<Value>,
    pub error: Option<JobError>,
    pub pause_reason: Option<String>,
    #[serde(default)]
    pub cancel_requested: bool,
}

/// How far a job is.
#[derive(Debug, Clone, Deserialize)]
pub struct Progress {
    pub step: u64,
    pub total: u64,
    pub percent: f64,
    pub seconds_remaining: Option<u64>,
}

/// Its place in the queue.
#[derive(Debug, Clone, Deserialize)]
pub struct Place {
    pub position: i64,
}

/// Something that happened to it.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    pub level: String,
    pub code: String,
    pub message: String,
}

/// A figure.
#[derive(Debug, Clone, Deserialize)]
pub struct Metric {
    pub id: i64,
    pub name: String,
    pub value: f64,
}

#[derive(Deserialize)]
struct List {
    data: Vec<Value>,
    has_more: bool,
}

/// The service at an address.
pub struct Service {
    url: String,
    key: Option<Secret>,
    http: reqwest::Client,
}

impl Service {
    /// A client that asks with this key; asks nothing yet.
    pub fn new(url: &str, key: Option<Secret>) -> reqwest::Result<Self> {
        install_tls();
        let mut http = reqwest::Client::builder().timeout(PATIENCE);
        if url.starts_with("http://") {
            // A machine without certificates can talk to a service beside it all the same.
            http = http.tls_certs_only([]);
        }
        if ["://127.", "://localhost", "://[::1]"].iter().any(|here| url.contains(here)) {
            http = http.no_proxy();
        }
        Ok(Self { url: url.to_owned(), key, http: http.build()? })
    }

    /// The job as the service tells it.
    pub async fn job(&self, id: &str) -> Result<Value, Trouble> {
        self.get(&format!("/v1/jobs/{id}")).await
    }

    /// Events after one.
    pub async fn events(&self, id: &str, after: Option<i64>) -> Result<Vec<Value>, Trouble> {
        self.list(&format!("/v1/jobs/{id}/events"), after).await
    }

    /// Figures written after one.
    pub async fn metrics(&self, id: &str, after: Option<i64>) -> Result<Vec<Metric>, Trouble> {
        let found = self.list(&format!("/v1/jobs/{id}/metrics"), after).await?;
        found.into_iter().map(read).collect()
    }

    async fn list(&self, path: &str, mut after: Option<i64>) -> Result<Vec<Value>, Trouble> {
        let mut items = Vec::new();
        loop {
            let after_this = after.map(|after| format!("&after={after}")).unwrap_or_default();
            let page: List = read(self.get(&format!("{path}?limit={PAGE}{after_this}")).await?)?;
            after = page.data.last().and_then(|last| last["id"].as_i64());
            items.extend(page.data);
            if !page.has_more || after.is_none() {
                return Ok(items);
            }
        }
    }

    async fn get(&self, path: &str) -> Result<Value, Trouble> {
        let away = |error: reqwest::Error| Trouble::Away(format!("{}: {}", self.url, chain(&error.without_url())));
        let mut request = self.http.get(format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.reveal());
        }
        let reply = request.send().await.map_err(away)?;
        let status = reply.status();
        let body = reply.bytes().await.map_err(away)?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }
        let said = body["detail"].as_str().unwrap_or("that is not an answer of stepwise").to_owned();
        Err(match status {
            StatusCode::NOT_FOUND if body["error"]["code"] == "not_found" => Trouble::NoSuchJob(said),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Trouble::Away(said),
            status if status.is_server_error() => Trouble::Away(format!("{} answers {status}: {said}", self.url)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Trouble::Refused(format!("{said}; the key comes from STEPWISE_API_KEY"))
            }
            status => Trouble::Refused(format!("{} answers {status}: {said}; is --url right?", self.url)),
        })
    }
}

/// An answer in the form that is expected.
pub fn read<T: DeserializeOwned>(value: Value) -> Result<T, Trouble> {
    serde_json::from_value(value)
        .map_err(|error| Trouble::Refused(format!("the answer is not one of stepwise: {error}; is --url right?")))
}
