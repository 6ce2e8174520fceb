//! `GET /v1/models/{id}/export`: a model to take away.

use std::path::PathBuf;

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use serde_json::Map;

use super::{
    ProjectState,
    error::ApiError,
    extract::{Name, Nothing, Query},
    models,
    openapi::OfOne,
};
use crate::{
    domain::StudentSource,
    export::{Export, Subject, render},
    inference::ModelTokenizer,
    registry,
};

/// Download a model as a tar: a folder of Hugging Face's layout with a model card, which `transformers` loads as it is. The
/// same model always gives the same bytes.
#[utoipa::path(get, path = "/v1/models/{id}/export", tag = "models",
    params(("id" = String, Path, description = "The model", example = "desk-2")),
    responses((status = 200, description = "The tar", content_type = "application/x-tar", body = Vec<u8>,
        headers(("content-disposition" = String, description = "A file name"))), OfOne))]
pub async fn export_model(state: ProjectState, Name(name): Name, _: Query<Nothing>) -> Result<Response, ApiError> {
    let source = models::find(&state, &name).await?;
    let directory = models::open(&state, &source).await?.directory;
    let card = registry::own_card(&directory).map_err(|error| models::unusable(source.name(), &error))?;
    let found = card.as_ref().and_then(registry::lineage);
    let none = Map::new();
    let (lineage, metrics) = match &source {
        StudentSource::Registered(model) => (model.lineage.as_ref().or(found.as_ref()), &model.metrics),
        StudentSource::Checkpoint(checkpoint) => (Some(&checkpoint.lineage), &checkpoint.metrics),
        StudentSource::Directory { .. } | StudentSource::Hub { .. } => (found.as_ref(), &none),
    };
    let id = source.id();
    let readme = render(&Subject { name: source.name(), id: id.as_deref(), card: card.as_ref(), metrics, lineage });
    let export = Export::new(&directory, source.name(), readme);
    let mut export = export.map_err(|error| ApiError::Internal(Box::new(error)))?;
    if export.lacks_tokenizer() {
        export.add_tokenizer(tokenizer_json(source.name(), directory).await?);
    }
    let disposition = format!("attachment; filename=\"{}\"", export.filename());
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar")),
        (header::CONTENT_LENGTH, HeaderValue::from(export.bytes())),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::try_from(disposition).expect("an export's file name is plain ASCII"),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, Body::from_stream(export.stream())).into_response())
}

/// What a folder's own tokenizer is as a `tokenizer.json`.
async fn tokenizer_json(name: &str, directory: PathBuf) -> Result<String, ApiError> {
    let json = tokio::task::spawn_blocking(move || ModelTokenizer::open(&directory)?.tokenizer_json()).await;
    json.map_err(|error| ApiError::Internal(Box::new(error)))?.map_err(|error| models::unusable(name, &error))
}
