//! The protocol's routes.

use axum::{Json, extract::State, http::StatusCode, response::Response};

use super::{
    asked::Asked,
    health::{ModelNotReady, ModelReady, ServerLive, ServerReady},
    infer::{InferenceResponse, PlainRequest, infer},
    metadata::{ModelMetadata, ServerMetadata},
    refused::{Infer, Look, Watch},
    request::InferenceRequest,
};
use crate::api::{AppState, ProjectState, deadline::DeadlineHeader, error::ApiError, health::readyz};

/// What the server is.
#[utoipa::path(get, path = "/v2", tag = "open inference",
    responses((status = 200, description = "The server", body = ServerMetadata)))]
pub async fn get_server() -> Json<ServerMetadata> {
    Json(ServerMetadata::own())
}

/// Is the process alive? Asks neither database nor engine.
#[utoipa::path(get, path = "/v2/health/live", tag = "open inference",
    responses((status = 200, description = "It is alive", body = ServerLive)))]
pub async fn get_live() -> Json<ServerLive> {
    Json(ServerLive { live: true })
}

/// Is the process ready for work? As `/readyz`: only after a real forward pass.
#[utoipa::path(get, path = "/v2/health/ready", tag = "open inference",
    responses((status = 200, description = "It is ready", body = ServerReady),
        (status = 503, description = "Something is missing; `/readyz` says what", body = ServerReady)))]
pub async fn get_ready(state: State<AppState>) -> (StatusCode, Json<ServerReady>) {
    let (status, _) = readyz(state).await;
    let ready = status == StatusCode::OK;
    (status, Json(ServerReady { live: ready, ready }))
}

/// What a model reads and what it can be asked for.
#[utoipa::path(get, path = "/v2/models/{name}", tag = "open inference",
    params(("name" = String, Path, description = "The model; its slashes are sent as `%2F`", example = "desk")),
    responses((status = 200, description = "The model", body = ModelMetadata), Look))]
pub async fn get_model(state: ProjectState, asked: Asked) -> Result<Json<ModelMetadata>, ApiError> {
    Ok(Json(ModelMetadata::of(&asked.open(&state).await?)))
}

/// What a model reads and what it can be asked for, in one version.
#[utoipa::path(get, path = "/v2/models/{name}/versions/{version}", tag = "open inference",
    params(("name" = String, Path, description = "The model; its slashes are sent as `%2F`", example = "desk"),
        ("version" = String, Path, description = "The fingerprint of its files", example = "fp_0a1b2c3d4e")),
    responses((status = 200, description = "The model", body = ModelMetadata), Look))]
pub async fn get_model_version(state: ProjectState, asked: Asked) -> Result<Json<ModelMetadata>, ApiError> {
    get_model(state, asked).await
}

/// Can a model be asked? 503 where its files are missing or broken; what is wrong with them says whoever asks it.
#[utoipa::path(get, path = "/v2/models/{name}/ready", tag = "open inference",
    params(("name" = String, Path, description = "The model; its slashes are sent as `%2F`", example = "desk")),
    responses((status = 200, description = "It can", body = ModelReady),
        (status = 503, description = "Its files are missing or broken, or nobody can tell at the moment",
            body = ModelNotReady), Watch))]
pub async fn get_model_ready(state: ProjectState, asked: Asked) -> Result<(StatusCode, Json<ModelReady>), ApiError> {
    match asked.open(&state).await {
        Ok(model) => Ok((StatusCode::OK, Json(ModelReady { name: model.name, ready: true }))),
        Err(ApiError::ModelUnusable { name, .. }) => {
            Ok((StatusCode::SERVICE_UNAVAILABLE, Json(ModelReady { name, ready: false })))
        }
        Err(error) => Err(error),
    }
}

/// Can a model be asked in this version?
#[utoipa::path(get, path = "/v2/models/{name}/versions/{version}/ready", tag = "open inference",
    params(("name" = String, Path, description = "The model; its slashes are sent as `%2F`", example = "desk"),
        ("version" = String, Path, description = "The fingerprint of its files", example = "fp_0a1b2c3d4e")),
    responses((status = 200, description = "It can", body = ModelReady),
        (status = 503, description = "Its files are missing or broken, or nobody can tell at the moment",
            body = ModelNotReady), Watch))]
pub async fn get_model_version_ready(
    state: ProjectState,
    asked: Asked,
) -> Result<(StatusCode, Json<ModelReady>), ApiError> {
    get_model_ready(state, asked).await
}

/// Ask a model about a tensor of texts.
///
/// Without `outputs` the answers are `label` and `confidence`; `rationale` and `label_probs` come where `outputs` names them or
/// `parameters` has them as true. A text that cannot be answered fails the request: a tensor has no place for it.
#[utoipa::path(post, path = "/v2/models/{name}/infer", tag = "open inference", request_body = InferenceRequest,
    params(("name" = String, Path, description = "The model; its slashes are sent as `%2F`", example = "desk"),
        DeadlineHeader),
    responses((status = 200, description = "The answers", body = InferenceResponse), Infer))]
pub async fn infer_model(
    state: ProjectState,
    asked: Asked,
    PlainRequest(request): PlainRequest,
) -> Result<Response, ApiError> {
    infer(&state, &asked, request).await
}

/// Ask a model in one version about a tensor of texts: where its files have changed, it is not there.
#[utoipa::path(post, path = "/v2/models/{name}/versions/{version}/infer", tag = "open inference",
    request_body = InferenceRequest,
    params(("name" = String, Path, description = "The model; its slashes are sent as `%2F`", example = "desk"),
        ("version" = String, Path, description = "The fingerprint of its files", example = "fp_0a1b2c3d4e"),
        DeadlineHeader),
    responses((status = 200, description = "The answers", body = InferenceResponse), Infer))]
pub async fn infer_model_version(
    state: ProjectState,
    asked: Asked,
    request: PlainRequest,
) -> Result<Response, ApiError> {
    infer_model(state, asked, request).await
}
