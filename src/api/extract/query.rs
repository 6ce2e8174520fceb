//! The query to a request's struct.

use axum::{
    extract::{FromRequestParts, Query as Pairs},
    http::request::Parts,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{nul, reason::describe};
use crate::api::error::ApiError;

/// The query of a route that takes none: `?dry_run=true` must not be mistaken for something that is understood.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A query of the form `T`, whose fields are read with [`from_text`](super::from_text).
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let pairs = Pairs::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Pairs(pairs) = pairs.map_err(|error| ApiError::field("#", "invalid_value", error.body_text()))?;
        let mut object = Map::new();
        for (name, value) in pairs {
            insert(&mut object, &name, value)?;
        }
        let object = Value::Object(object);
        nul::refuse("#", &object)?;
        let parsed = serde_path_to_error::deserialize(object);
        parsed.map(Self).map_err(|error| ApiError::Invalid(vec![describe(error.path(), &error.inner().to_string())]))
    }
}

/// `metadata[team]=nlp` is the member `team` of the object `metadata`, as OpenAI's clients write it.
fn insert(object: &mut Map<String, Value>, name: &str, value: String) -> Result<(), ApiError> {
    let twice = || {
        ApiError::field(format!("#/{name}"), "invalid_value", format!("the query parameter {name:?} is given twice"))
    };
    let Some((outer, inner)) = name.strip_suffix(']').and_then(|name| name.split_once('[')) else {
        let before = object.insert(name.to_owned(), Value::String(value));
        return before.map_or(Ok(()), |_| Err(twice()));
    };
    match object.entry(outer).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(members) => {
            let before = members.insert(inner.to_owned(), Value::String(value));
            before.map_or(Ok(()), |_| Err(twice()))
        }
        _ => Err(twice()),
    }
}
