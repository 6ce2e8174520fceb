//! How a teacher is reached: one `[[teachers]]` table of the configuration.

use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;

use super::{Dispensable, MaxTokensParameter, TeacherError, pace::Limits};
use crate::domain::{Prices, Secret, TeacherApi, TeacherTerms};

/// What a `[[teachers]]` table may hold: key, default, meaning. The README's table is made of it.
pub const TEACHER_KEYS: [[&str; 3]; 14] = [
    ["name", "", "the name that requests use"],
    [
        "base_url",
        "",
        "the address up to and with `/v1`, of an endpoint that speaks OpenAI's chat completions or completions",
    ],
    ["model", "", "the model's name there"],
    [
        "api",
        "chat",
        "`chat`: messages to `/chat/completions`; `completions`: one text to `/completions`, for base models",
    ],
    ["api_key_env", "no key", "the environment variable that holds the API key; keys do not belong into files"],
    [
        "json_schema",
        "false",
        "whether it keeps to a JSON schema sent as `response_format`, as OpenAI's models, vLLM, SGLang and llama.cpp do; \
         jobs of answer form `json` then send one, and otherwise ask for JSON in words",
    ],
    [
        "max_tokens_parameter",
        "max_tokens",
        "the name of the limit on an answer's tokens; OpenAI's reasoning models want `max_completion_tokens`",
    ],
    [
        "leave_out",
        "nothing",
        "what is not sent, because the teacher refuses it: a list of `temperature`, `stop`, `seed` and `idempotency_key`",
    ],
    ["max_concurrency", "16", "requests under way at once, of all workers together"],
    ["requests_per_minute", "no limit", "requests a minute, of all workers together"],
    ["tokens_per_minute", "no limit", "tokens a minute, in and out, of all workers together"],
    ["usd_per_million_input_tokens", "0", "price of a million prompt tokens"],
    ["usd_per_million_output_tokens", "0", "price of a million answer tokens"],
    ["request_timeout_seconds", "120", "time from sending a request to the last byte of its answer"],
];

/// One teacher. A request names it; it never carries a URL or a key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherSettings {
    /// The name that requests use.
    pub name: String,
    /// The address up to and with `/v1`; `/chat/completions` or `/completions` is appended.
    pub base_url: String,
    /// The model's name there.
    pub model: String,
    /// How it is asked.
    #[serde(default)]
    pub api: TeacherApi,
    /// The environment variable that holds the API key; null: the teacher wants none.
    #[serde(default)]
    pub api_key_env: Option<String>,
    /// The API key, where it is given by code. The configuration cannot: keys do not belong into files.
    #[serde(skip)]
    pub api_key: Option<Secret>,
    /// Whether it keeps to a JSON schema that is sent as `response_format`.
    #[serde(default)]
    pub json_schema: bool,
    /// By which name the limit on an answer's tokens is sent.
    #[serde(default)]
    pub max_tokens_parameter: MaxTokensParameter,
    /// What is not sent, because it refuses it.
    #[serde(default)]
    pub leave_out: Vec<Dispensable>,
    /// Requests under way at once, of all workers together.
    #[serde(default = "default_concurrency")]
    pub max_concurrency: usize,
    /// Requests a minute; null: no limit.
    #[serde(default)]
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute, in and out; null: no limit.
    #[serde(default)]
    pub tokens_per_minute: Option<u32>,
    /// Price of a million prompt tokens.
    #[serde(default)]
    pub usd_per_million_input_tokens: f64,
    /// Price of a million answer tokens.
    #[serde(default)]
    pub usd_per_million_output_tokens: f64,
    /// Time from sending a request to the last byte of its answer; in the configuration `request_timeout_seconds`.
    #[serde(default = "default_timeout", rename = "request_timeout_seconds", deserialize_with = "seconds")]
    pub request_timeout: Duration,
}

impl TeacherSettings {
    /// A teacher without key, limits and prices.
    pub fn new(name: &str, base_url: &str, model: &str) -> Self {
        Self {
            name: name.to_owned(),
            base_url: base_url.to_owned(),
            model: model.to_owned(),
            api: TeacherApi::Chat,
            api_key_env: None,
            api_key: None,
            json_schema: false,
            max_tokens_parameter: MaxTokensParameter::default(),
            leave_out: Vec::new(),
            max_concurrency: default_concurrency(),
            requests_per_minute: None,
            tokens_per_minute: None,
            usd_per_million_input_tokens: 0.0,
            usd_per_million_output_tokens: 0.0,
            request_timeout: default_timeout(),
        }
    }

    /// What the API may know of it.
    pub fn terms(&self) -> TeacherTerms {
        TeacherTerms {
            name: self.name.clone(),
            api: self.api,
            max_concurrency: self.max_concurrency,
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            usd_per_million_input_tokens: self.usd_per_million_input_tokens,
            usd_per_million_output_tokens: self.usd_per_million_output_tokens,
        }
    }

    /// What its tokens cost.
    pub fn prices(&self) -> Prices {
        Prices {
            usd_per_million_input_tokens: self.usd_per_million_input_tokens,
            usd_per_million_output_tokens: self.usd_per_million_output_tokens,
        }
    }

    /// Everything in these settings that cannot be used, with what would be right; empty where all is well. Looks at
    /// nothing else: whether the key's variable is set, only who asks this teacher needs to know.
    pub fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self.address().err().into_iter().collect();
        if self.api_key_env.as_deref().is_some_and(|name| !names_a_variable(name)) {
            faults.push(
                "api_key_env must be the name of an environment variable in capitals, such as TEACHER_KEY; what it is \
                 now is not shown, since it may be the key itself"
                    .to_owned(),
            );
        }
        if self.max_concurrency == 0 {
            faults.push("max_concurrency must be at least 1".to_owned());
        }
        let limits = [("requests_per_minute", self.requests_per_minute), ("tokens_per_minute", self.tokens_per_minute)];
        for (key, _) in limits.iter().filter(|(_, limit)| *limit == Some(0)) {
            faults.push(format!("{key} must be at least 1; leave it out for no limit"));
        }
        let prices = [
            ("usd_per_million_input_tokens", self.usd_per_million_input_tokens),
            ("usd_per_million_output_tokens", self.usd_per_million_output_tokens),
        ];
        for (key, price) in prices.iter().filter(|(_, price)| !price.is_finite() || *price < 0.0) {
            faults.push(format!("{key} must be 0 or more, not {price}"));
        }
        faults
    }

    /// Whether it is sent what it could do without.
    pub(super) fn sends(&self, parameter: Dispensable) -> bool {
        !self.leave_out.contains(&parameter)
    }

    /// How fast it may be asked.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            max_concurrency: u32::try_from(self.max_concurrency).unwrap_or(u32::MAX),
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
        }
    }

    /// The address of its way of asking, if the settings can be used.
    pub(super) fn endpoint(&self) -> Result<Url, TeacherError> {
        let refuse = |reason: String| TeacherError::Settings { teacher: self.name.clone(), reason };
        match self.faults().into_iter().next() {
            Some(fault) => Err(refuse(fault)),
            None => self.address().map_err(refuse),
        }
    }

    fn address(&self) -> Result<Url, String> {
        let path = match self.api {
            TeacherApi::Chat => "chat/completions",
            TeacherApi::Completions => "completions",
        };
        let address = format!("{}/{path}", self.base_url.trim_end_matches('/'));
        let Ok(url) = Url::parse(&address) else {
            return Err("base_url is not a URL such as http://127.0.0.1:8000/v1".to_owned());
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("base_url must begin with http:// or https://, not {}:", url.scheme()));
        }
        // They would stand in every message that names the address.
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(
                "base_url must hold no user, password or query: name the key's variable in api_key_env".to_owned()
            );
        }
        Ok(url)
    }

    /// The key given by code, or else the one that the environment holds.
    pub(super) fn key(&self) -> Result<Option<Secret>, TeacherError> {
        let Some(variable) = self.api_key_env.as_deref().filter(|_| self.api_key.is_none()) else {
            return Ok(self.api_key.clone());
        };
        let found = std::env::var(variable).ok().filter(|key| !key.is_empty());
        let reason = format!("api_key_env names the environment variable {variable}, which is not set");
        let missing = || TeacherError::Settings { teacher: self.name.clone(), reason };
        found.map(|key| Some(Secret::new(key))).ok_or_else(missing)
    }
}

/// Capitals, digits and `_`: a key that was written where its variable's name belongs hardly ever looks like that, so
/// that the name may be shown.
fn names_a_variable(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

fn default_concurrency() -> usize {
    16
}

/// Long rationales of a large model on a busy server take a minute.
fn default_timeout() -> Duration {
    Duration::from_secs(120)
}

fn seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    let duration = Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| serde::de::Error::custom("request_timeout_seconds must be a positive number"))
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
