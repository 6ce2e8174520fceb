//! The model that a path names, and perhaps its version.

use std::collections::HashMap;

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};

use crate::api::{ProjectState, asked_model::AskedModel, error::ApiError, extract::Name};

/// A model's name, each of whose slashes and colons may be percent-encoded, and a version where the path has one.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The name.
    pub name: String,
    version: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let found = Path::<HashMap<String, String>>::from_request_parts(parts, state).await;
        let no_route = || ApiError::NoRoute(parts.uri.path().chars().take(200).collect());
        let Path(mut found) = found.map_err(|_| no_route())?;
        let Name(name) = found.remove("name").and_then(Name::new).ok_or_else(no_route)?;
        Ok(Self { name, version: found.remove("version") })
    }
}

impl Asked {
    /// The model, its files on this machine. A version that is not the model's own is not there: whoever names one wants
    /// these weights and no others.
    pub async fn open(&self, state: &ProjectState) -> Result<AskedModel, ApiError> {
        let model = AskedModel::find(state, &self.name).await?;
        let own = model.fingerprint();
        match &self.version {
            Some(version) if *version != own => Err(ApiError::NotFound {
                what: "version of this model, whose one version is the fingerprint of its files,",
                id: version.chars().take(200).collect(),
            }),
            _ => Ok(model),
        }
    }
}
