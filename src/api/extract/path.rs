//! The variable segment of a path.

use std::{fmt::Display, str::FromStr};

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};

use crate::{
    api::error::ApiError,
    domain::{FileId, JobId},
};

/// An id of a known kind. A text of another form is a 404, as an id that nothing has is.
#[derive(Debug, Clone, Copy)]
pub struct Id<T>(pub T);

/// What an id names, for "there is no …".
pub trait Named {
    /// The word for it.
    const WHAT: &'static str;
}

impl Named for FileId {
    const WHAT: &'static str = "file";
}

impl Named for JobId {
    const WHAT: &'static str = "job";
}

impl<T: Named + Display> Id<T> {
    /// The error of an id that nothing has.
    pub fn missing(&self) -> ApiError {
        ApiError::NotFound { what: T::WHAT, id: self.0.to_string() }
    }
}

impl<T: Named + FromStr, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Name(text) = Name::from_request_parts(parts, state).await?;
        text.parse().map(Self).map_err(|_| ApiError::NotFound { what: T::WHAT, id: text })
    }
}

/// No name is longer.
const MAX_NAME_BYTES: usize = 1024;

/// A name in one percent-encoded segment.
#[derive(Debug, Clone)]
pub struct Name(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let found = Path::<String>::from_request_parts(parts, state).await;
        let no_name = || ApiError::NoRoute(parts.uri.path().chars().take(200).collect());
        let Path(text) = found.map_err(|_| no_name())?;
        Self::new(text).ok_or_else(no_name)
    }
}

impl Name {
    /// The name; none where nothing that is stored can have it.
    pub fn new(text: String) -> Option<Self> {
        let nameable = !text.contains('\0') && text.len() <= MAX_NAME_BYTES;
        nameable.then_some(Self(text))
    }
}
