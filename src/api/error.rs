//! What can go wrong with a request: one enum, and one exhaustive match that gives each case its status and code.
//! Nothing else in the crate knows status codes.

use std::time::Duration;

use axum::http::StatusCode;

pub use super::field_error::FieldError;
use super::job_conflict::JobConflict;
use crate::domain::{JobId, Scope};

/// Where a cause comes from; it goes to the log, never to the client.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a request is not answered.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Fields are wrong; the first one gives the code. Never empty.
    #[error("{}", summary(.0))]
    Invalid(Vec<FieldError>),
    /// The body does not parse.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// The body is of another type.
    #[error("the content type is {found}; send {wanted}")]
    ContentType {
        /// What would be right.
        wanted: &'static str,
        /// What came.
        found: String,
    },
    /// The body is larger than its limit.
    #[error("the body is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The uploaded file has no bytes.
    #[error("the file is empty; send at least one JSON object a line")]
    EmptyFile,
    /// The form of an upload is broken or broke off.
    #[error("the upload cannot be read: {0}")]
    BrokenUpload(String),
    /// The request has no key that is good: none, an unknown, a revoked or an expired one. Which of them is nobody's business.
    #[error(
        "this needs an API key that is good, as in the header Authorization: Bearer sw_…; `stepwise keys create` makes one"
    )]
    NoKey,
    /// The request's key is not whole, which is seen by its form alone.
    #[error("the API key is not whole: a character is missing or wrong; send it as `stepwise keys create` printed it")]
    BrokenKey,
    /// The request's key is good for other things.
    #[error(
        "the API key has not the scope {0}, which this needs; `stepwise keys create --scopes {0}` makes one that has"
    )]
    MissingScope(Scope),
    /// Too many wrong keys came from the request's address.
    #[error("too many wrong API keys came from this address; try again in {seconds} s")]
    TooManyWrongKeys {
        /// The rest of the minute.
        seconds: u64,
    },
    /// Nothing has this id.
    #[error("there is no {what} {id:?}")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// The id as it was given.
        id: String,
    },
    /// No model has this name.
    #[error("there is no model {name:?}{advice}")]
    ModelNotFound {
        /// The name as it was given.
        name: String,
        /// The nearest names, as the end of the sentence.
        advice: String,
    },
    /// A model's files are missing or broken.
    #[error("model {name:?} cannot be used: {reason}")]
    ModelUnusable {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing is served at this path.
    #[error("nothing is served at {0}; see /openapi.json")]
    NoRoute(String),
    /// Something is served at this path, for other methods.
    #[error("{method} is not served at {path}; see /openapi.json")]
    MethodNotAllowed {
        /// The method.
        method: String,
        /// The path.
        path: String,
    },
    /// The range begins behind the end of the bytes.
    #[error("the range begins behind the end: there are {bytes} bytes")]
    RangeNotSatisfiable {
        /// How many there are.
        bytes: u64,
    },
    /// A job that is not over reads the file.
    #[error("file {file} is used by {job}, which is not over; cancel it or wait")]
    FileInUse {
        /// The file.
        file: String,
        /// The job.
        job: JobId,
    },
    /// Another request with the same idempotency key is under way.
    #[error("a request with this Idempotency-Key is under way; send it again in a moment to get its answer")]
    KeyBusy,
    /// The idempotency key belongs to another request.
    #[error("this Idempotency-Key came with another request to {route} before; use a new key for a new request")]
    KeyReused {
        /// Method and route.
        route: &'static str,
    },
    /// The job's state does not allow what was asked of it.
    #[error(transparent)]
    Job(#[from] JobConflict),
    /// The model is a folder that the service does not own.
    #[error("model {0:?} is a folder below models_dir; remove the folder instead")]
    ModelIsDirectory(String),
    /// The model lies in a cache that other programs use.
    #[error("model {0:?} is in the Hub's cache, which other programs use as well; remove it there")]
    ModelIsInHubCache(String),
    /// An alias points to the model.
    #[error("model {model:?} is what the alias {alias:?} points to; move or delete the alias first")]
    ModelHasAlias {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
    },
    /// A job that is not over trains from the model or scores it.
    #[error("model {model:?} is used by {job}, which is not over; cancel it or wait")]
    ModelInUse {
        /// The model.
        model: String,
        /// The job.
        job: JobId,
    },
    /// What was to be deleted as a model is an alias.
    #[error("{alias:?} is an alias of model {model:?}; delete the alias at /v1/aliases, or the model by its own name")]
    ModelIsAlias {
        /// The alias.
        alias: String,
        /// The model that it points to.
        model: String,
    },
    /// What was to become an alias is a model.
    #[error("there is a model {0:?}, and an alias needs a name of its own; choose another name")]
    NameOfModel(String),
    /// The queue for predictions is full.
    #[error("too many predictions are waiting; try again in {seconds} s")]
    Overloaded {
        /// The time in which those are answered, at the pace of late.
        seconds: u64,
    },
    /// Nothing was computed for the request in all the time that it may wait.
    #[error(
        "the request waited as long as it may, and its work had not begun (max_queue_seconds); nothing was computed"
    )]
    QueueTimeout,
    /// The request was not answered in the time that the client gave it.
    #[error(
        "the request was not answered within the {} s that it gives itself (Stepwise-Timeout); what was not finished is dropped",
        .0.as_secs_f64()
    )]
    DeadlineExceeded(Duration),
    /// The process is about to stop, and takes nothing on any more.
    #[error(
        "this process is about to stop and takes no new questions; send the request again, to another one or in a moment"
    )]
    Draining,
    /// The request took longer than it may.
    #[error("the request took longer than {0} seconds")]
    TimedOut(u64),
    /// The database or the inference engine cannot be reached at the moment.
    #[error("{what} cannot be reached at the moment; try again in a moment")]
    Unavailable {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// A fault of the service.
    #[error("an internal error; the log has its cause under this request's id")]
    Internal(#[source] Cause),
}

/// What each case means on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wire {
    /// The status.
    pub status: StatusCode,
    /// OpenAI's `error.type`.
    pub kind: &'static str,
    /// A stable name to branch on.
    pub code: &'static str,
    /// `retry-after`, in seconds.
    pub retry_after: Option<u64>,
    /// `x-should-retry: false`, where a client that retries by status would retry in vain.
    pub never_retry: bool,
}

impl ApiError {
    /// One wrong field.
    pub fn field(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(pointer, code, detail)])
    }

    /// The table of statuses and codes.
    pub fn wire(&self) -> Wire {
        const INVALID: &str = "invalid_request_error";
        let wire = |status, kind, code| Wire { status, kind, code, retry_after: None, never_retry: false };
        match self {
            Self::Invalid(fields) => wire(StatusCode::BAD_REQUEST, INVALID, first_code(fields)),
            Self::NotJson(_) => wire(StatusCode::BAD_REQUEST, INVALID, "invalid_json"),
            Self::ContentType { .. } => wire(StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID, "unsupported_media_type"),
            Self::TooLarge { .. } => wire(StatusCode::PAYLOAD_TOO_LARGE, INVALID, "too_large"),
            Self::EmptyFile => wire(StatusCode::BAD_REQUEST, INVALID, "empty_file"),
            Self::BrokenUpload(_) => wire(StatusCode::BAD_REQUEST, INVALID, "invalid_upload"),
            Self::NoKey | Self::BrokenKey => wire(StatusCode::UNAUTHORIZED, "authentication_error", "invalid_api_key"),
            Self::MissingScope(_) => wire(StatusCode::FORBIDDEN, "permission_error", "insufficient_scope"),
            Self::TooManyWrongKeys { seconds } => {
                let too_many = wire(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "too_many_wrong_keys");
                Wire { retry_after: Some(*seconds), ..too_many }
            }
            Self::NotFound { .. } => wire(StatusCode::NOT_FOUND, "not_found_error", "not_found"),
            Self::ModelNotFound { .. } => wire(StatusCode::NOT_FOUND, INVALID, "model_not_found"),
            Self::ModelUnusable { .. } => wire(StatusCode::BAD_REQUEST, INVALID, "model_unusable"),
            Self::NoRoute(_) => wire(StatusCode::NOT_FOUND, "not_found_error", "no_such_route"),
            Self::MethodNotAllowed { .. } => wire(StatusCode::METHOD_NOT_ALLOWED, INVALID, "method_not_allowed"),
            Self::RangeNotSatisfiable { .. } => {
                wire(StatusCode::RANGE_NOT_SATISFIABLE, INVALID, "range_not_satisfiable")
            }
            Self::FileInUse { .. } => conflict("file_in_use"),
            Self::Job(reason) => conflict(reason.code()),
            Self::ModelIsDirectory(_) => conflict("model_is_directory"),
            Self::ModelIsInHubCache(_) => conflict("model_is_in_hub_cache"),
            Self::ModelHasAlias { .. } | Self::ModelInUse { .. } => conflict("model_in_use"),
            Self::ModelIsAlias { .. } => conflict("model_is_alias"),
            Self::NameOfModel(_) => conflict("name_taken"),
            Self::KeyBusy => Wire { retry_after: Some(1), never_retry: false, ..conflict("idempotency_key_busy") },
            Self::KeyReused { .. } => {
                wire(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable_entity_error", "idempotency_key_reused")
            }
            Self::Overloaded { seconds } => {
                let overloaded = wire(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "overloaded");
                Wire { retry_after: Some(*seconds), ..overloaded }
            }
            Self::QueueTimeout => unavailable("queue_timeout"),
            Self::DeadlineExceeded(_) => {
                // Nobody waits for a second answer either.
                let late = wire(StatusCode::GATEWAY_TIMEOUT, "timeout_error", "deadline_exceeded");
                Wire { never_retry: true, ..late }
            }
            Self::Draining => unavailable("draining"),
            Self::TimedOut(_) => unavailable("timed_out"),
            Self::Unavailable { .. } => unavailable("unavailable"),
            Self::Internal(_) => wire(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "internal_error"),
        }
    }

    /// The wrong fields, where it is about fields.
    pub fn fields(&self) -> &[FieldError] {
        if let Self::Invalid(fields) = self { fields } else { &[] }
    }

    /// OpenAI's `param`: the field at fault.
    pub fn param(&self) -> Option<String> {
        match self {
            Self::ModelNotFound { .. } | Self::ModelUnusable { .. } => Some("model".to_owned()),
            Self::EmptyFile => Some("file".to_owned()),
            Self::KeyBusy | Self::KeyReused { .. } => Some("Idempotency-Key".to_owned()),
            other => other.fields().first().map(FieldError::param),
        }
    }
}

/// A state that a repetition of the request would find again.
fn conflict(code: &'static str) -> Wire {
    Wire { status: StatusCode::CONFLICT, kind: "conflict_error", code, retry_after: None, never_retry: true }
}

/// Trouble that passes.
fn unavailable(code: &'static str) -> Wire {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    Wire { status, kind: "service_unavailable", code, retry_after: Some(2), never_retry: false }
}

fn first_code(fields: &[FieldError]) -> &'static str {
    fields.first().map_or("invalid_value", |field| field.code)
}

fn summary(fields: &[FieldError]) -> String {
    match fields {
        [] => "the request is not valid".to_owned(),
        [only] => only.detail.clone(),
        [first, rest @ ..] => format!("{} (and {} more)", first.detail, rest.len()),
    }
}
