//! A body that may be left out, on a route that takes no query, with the key under which the request is answered once.

use axum::extract::{FromRequest, FromRequestParts, Request};
use serde::de::DeserializeOwned;

use super::{
    error::ApiError,
    extract::{JsonBytes, Nothing, Query},
    idempotency::Key,
};

/// What a request says: its default where it has no body.
#[derive(Debug)]
pub struct KeyedBody<T> {
    /// What is asked.
    pub request: T,
    /// The request's `Idempotency-Key`.
    pub key: Key,
    /// The body as it came; empty where there is none.
    pub bytes: Vec<u8>,
}

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for KeyedBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        Query::<Nothing>::from_request_parts(&mut parts, state).await?;
        let key = Key::from_request_parts(&mut parts, state).await?;
        Ok(match JsonBytes::read_any(&parts.headers, body).await? {
            Some(body) => Self { request: body.parse()?, key, bytes: body.as_slice().to_vec() },
            None => Self { request: T::default(), key, bytes: Vec::new() },
        })
    }
}
