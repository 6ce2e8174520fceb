//! A JSON body to a request's struct.

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header},
};
use serde::de::DeserializeOwned;

use super::{Nothing, Query, nul, reason::describe};
use crate::api::error::ApiError;

/// Largest body that is taken; uploads are forms, not JSON.
const MAX_BODY_BYTES: usize = 1 << 20;
const NUL_ESCAPE: &[u8] = b"\\u0000";

/// A JSON body of the form `T`, on a route that takes no query.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// A JSON body that is read and not yet parsed, for handlers that also need its bytes.
#[derive(Debug)]
pub struct JsonBytes(bytes::Bytes);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        Query::<Nothing>::from_request_parts(&mut parts, state).await?;
        JsonBytes::read(&parts.headers, body).await?.parse().map(Json)
    }
}

impl JsonBytes {
    /// The whole body, if it is of the right type and size.
    pub async fn read(headers: &HeaderMap, body: Body) -> Result<Self, ApiError> {
        require_json(headers)?;
        read(body, MAX_BODY_BYTES).await.map(Self)
    }

    /// The body of a request that need not have one.
    pub async fn read_any(headers: &HeaderMap, body: Body) -> Result<Option<Self>, ApiError> {
        let bytes = read(body, MAX_BODY_BYTES).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        require_json(headers)?;
        Ok(Some(Self(bytes)))
    }

    /// The body as a request's form.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        parse(&self.0)
    }

    /// The body as it came.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let found = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let essence = found.as_deref().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_json = essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json");
    let found = found.clone().unwrap_or_else(|| "missing".to_owned());
    if is_json { Ok(()) } else { Err(ApiError::ContentType { wanted: "application/json", found }) }
}

/// The whole body. A declared length over the limit is refused before a byte is read.
async fn read(body: Body, limit_bytes: usize) -> Result<bytes::Bytes, ApiError> {
    use axum::body::HttpBody;

    let too_large = ApiError::TooLarge { limit_bytes: limit_bytes as u64 };
    if body.size_hint().lower() > limit_bytes as u64 {
        return Err(too_large);
    }
    to_bytes(body, limit_bytes).await.map_err(|error| {
        let over = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
            .any(|error| error.to_string().contains("length limit exceeded"));
        if over { too_large } else { ApiError::NotJson("it broke off".to_owned()) }
    })
}

/// Parses a body; public so that tests of forms need no server.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::NotJson("it is empty; send a JSON object".to_owned()));
    }
    // Serde takes an array for a struct, field by field; a client that sends one has made a mistake.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(ApiError::field("#", "wrong_type", "the body is an array; send a JSON object"));
    }
    // Rare enough to pay for a second look; a body without the escape cannot hold the character.
    if bytes.windows(NUL_ESCAPE.len()).any(|window| window == NUL_ESCAPE) {
        let whole = serde_json::from_slice(bytes).map_err(|error| ApiError::NotJson(error.to_string()))?;
        nul::refuse("#", &whole)?;
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(refusal)?;
    deserializer.end().map_err(|error| ApiError::NotJson(error.to_string()))?;
    Ok(value)
}

fn refusal(error: serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    if error.inner().is_data() {
        ApiError::Invalid(vec![describe(error.path(), &error.inner().to_string())])
    } else {
        ApiError::NotJson(error.into_inner().to_string())
    }
}
