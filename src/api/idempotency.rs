//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a client that does not know whether its request came
//! through sends it again with the same key and gets the first answer, marked `Idempotent-Replayed: true`. A request
//! that is refused does not use up its key. Keys are kept for a week.

use axum::{
    body::{Body, to_bytes},
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::Response,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::IntoParams;
use uuid::Uuid;

use super::{ProjectState, error::ApiError};
use crate::store::{KeyClaim, KeyHold, StoredAnswer};

const HEADER: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const MAX_KEY_CHARACTERS: usize = 255;

/// The header that makes a repetition harmless.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes a header that is read by hand")]
pub struct KeyHeader {
    /// A text of 1 to 255 characters that names this request, such as a UUID: sent again with the same key, it is
    /// answered as before (`idempotent-replayed: true`) and makes nothing new. Kept for 7 days.
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 257,
        example = "8e03978e-40d5-43dd-bc93-6894a57f9324"
    )]
    idempotency_key: Option<String>,
}

/// The request's key, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut values = parts.headers.get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        let text = value.to_str().ok().filter(|_| values.next().is_none()).map(str::trim);
        // The draft has a quoted text; most clients send it bare.
        let bare = text.map(|text| text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text));
        let key = bare.filter(|key| (1..=MAX_KEY_CHARACTERS).contains(&key.chars().count()));
        key.map(|key| Self(Some(key.to_owned()))).ok_or_else(|| {
            let detail = "Idempotency-Key is one text of 1 to 255 visible ASCII characters, such as a UUID";
            ApiError::field("#/Idempotency-Key", "invalid_value", detail)
        })
    }
}

/// A digest of a JSON request: member order and white space do not count.
pub fn fingerprint(body: &[u8]) -> String {
    // serde_json's objects are sorted by key.
    let canonical = serde_json::from_slice::<Value>(body).map(|value| value.to_string().into_bytes());
    digest(&[&canonical.unwrap_or_else(|_| body.to_vec())])
}

/// A digest of a JSON request about a thing, whose body may be left out: `{}` says as much as none.
pub fn fingerprint_about(id: &str, body: &[u8]) -> String {
    let says_nothing = matches!(serde_json::from_slice(body), Ok(Value::Object(members)) if members.is_empty());
    if body.is_empty() || says_nothing {
        return digest(&[id.as_bytes()]);
    }
    digest(&[id.as_bytes(), fingerprint(body).as_bytes()])
}

/// A digest of the parts that make a request what it is.
pub fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Acts once per key. `act` is given the holder to note beside what it makes, `remake` answers for what was made by a
/// request that died before it could store its answer.
pub async fn once(
    state: &ProjectState,
    key: Key,
    route: &'static str,
    fingerprint: String,
    act: impl AsyncFnOnce(Option<Uuid>) -> Result<Response, ApiError>,
    remake: impl AsyncFnOnce(Uuid) -> Result<Response, ApiError>,
) -> Result<Response, ApiError> {
    let Some(key) = key.0 else { return act(None).await };
    let holder = state.clock.new_id();
    let hold = KeyHold { project_id: state.project, route, key, fingerprint, holder };
    match state.store.claim_key(&hold).await? {
        KeyClaim::Fresh => {}
        KeyClaim::Answered(answer) => return replay(answer),
        KeyClaim::Made(id) => return remake(id).await.map(mark),
        KeyClaim::Busy => return Err(ApiError::KeyBusy),
        KeyClaim::Reused => return Err(ApiError::KeyReused { route }),
    }
    match act(Some(holder)).await {
        Ok(response) => store(state, holder, response).await,
        Err(error) => {
            // Kept, it would only make the client wait: it runs out by itself.
            if let Err(error) = state.store.free_key(holder).await {
                tracing::warn!(%error, "cannot free an idempotency key");
            }
            Err(error)
        }
    }
}

/// Stores the answer before it is sent. A failure does no harm: what was made is noted already.
async fn store(state: &ProjectState, holder: Uuid, response: Response) -> Result<Response, ApiError> {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|error| ApiError::Internal(Box::new(error)))?;
    let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let answer = StoredAnswer {
        status: parts.status.as_u16(),
        location: text(header::LOCATION),
        content_type: text(header::CONTENT_TYPE).unwrap_or_default(),
        body: body.to_vec(),
    };
    if let Err(error) = state.store.answer_key(holder, &answer).await {
        tracing::warn!(%error, "cannot store an answer under its idempotency key");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn replay(answer: StoredAnswer) -> Result<Response, ApiError> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let headers = [(header::CONTENT_TYPE, Some(answer.content_type)), (header::LOCATION, answer.location)];
    for (name, value) in headers {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(mark(response))
}

fn mark(mut response: Response) -> Response {
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
