//! Probes. Liveness asks nothing but the process itself: a database that is down must not get the service restarted.

use std::time::Duration;

use axum::{extract::State, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::AppState;
use crate::inference::InferenceError;

/// How long the database may take to answer a probe.
const PING: Duration = Duration::from_secs(1);

/// The process runs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Always `ok`.
    status: String,
}

/// Whether the process can take work, and what is missing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// Whether everything below is `ok`.
    ready: bool,
    /// Whether the database answers within a second: `ok` or what is wrong.
    database: String,
    /// Whether a real forward pass was done, and one of every pinned model, and the engine still runs: `ok` or what is wrong.
    inference: String,
    /// Whether new requests are welcome: `ok` or `draining`.
    process: String,
}

/// Is the process alive? Asks neither database nor engine.
#[utoipa::path(get, path = "/healthz", tag = "service",
    responses((status = 200, description = "It is alive", body = Health)))]
pub async fn healthz() -> axum::Json<Health> {
    axum::Json(Health { status: "ok".to_owned() })
}

/// Is the process ready for work?
#[utoipa::path(get, path = "/readyz", tag = "service",
    responses((status = 200, description = "It is ready", body = Ready),
        (status = 503, description = "Something is missing", body = Ready)))]
pub async fn readyz(State(state): State<AppState>) -> (StatusCode, axum::Json<Ready>) {
    let database = database(&state).await;
    let inference = inference(&state).unwrap_or_else(ok);
    let process = if state.shutdown.is_cancelled() { "draining".to_owned() } else { ok() };
    let ready = [&database, &inference, &process].iter().all(|part| *part == "ok");
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(Ready { ready, database, inference, process }))
}

/// What keeps students from answering.
fn inference(state: &AppState) -> Option<String> {
    let stopped = || state.engine.is_stopped().then(|| InferenceError::Stopped.to_string());
    state.first_pass.words().or_else(stopped).or_else(|| state.pinned_models.missing.words())
}

async fn database(state: &AppState) -> String {
    match tokio::time::timeout(PING, state.store.ping()).await {
        Ok(Ok(())) => ok(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the database does not answer within a second".to_owned(),
    }
}

fn ok() -> String {
    "ok".to_owned()
}
