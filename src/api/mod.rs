//! The HTTP interface: routes, their forms on the wire, and the table of errors. Handlers extract, act on the store and
//! answer; the rules of what may be asked are in `resolve/`. It knows no SQL and no tensors, and never waits for a worker.

mod accept;
mod aliases;
mod annotation_jobs;
mod annotation_lines;
mod asked_model;
mod audit;
mod audit_log;
mod connections;
mod deadline;
mod distillation_jobs;
mod draining;
mod error;
mod error_sources;
mod estimate;
mod evaluation_jobs;
mod examples;
mod export;
mod extract;
mod field_error;
mod file_content;
mod file_rows;
mod file_statistics;
mod files;
mod gate;
mod health;
mod held;
mod idempotency;
mod included;
mod job_annotations;
mod job_checkpoints;
mod job_conflict;
mod job_events;
mod job_form;
mod job_metrics;
mod job_report;
mod job_requests;
mod job_resource;
mod job_result;
mod job_resume;
mod job_retry;
mod job_stream;
mod jobs;
mod keyed_body;
mod list;
mod metadata_filter;
mod metrics;
mod middleware;
mod missing;
mod model_resource;
mod models;
mod names;
mod one_of;
mod open_inference;
mod openai;
mod openapi;
mod pinned;
mod predictions;
mod problem;
mod project_state;
mod reports;
mod resolve;
mod scopes;
mod serve;
mod shapes;
mod sse;
mod state;
mod submit;
mod tidy;
mod unread;
mod upload;
mod upload_body;
mod upload_form;
mod warm_up;

use std::{convert::Infallible, time::Duration};

use axum::{Router, extract::DefaultBodyLimit, extract::Request, middleware as axum_middleware, routing::get};
use tower_http::{catch_panic::CatchPanicLayer, timeout::RequestBodyTimeoutLayer};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

use crate::shutdown::Shutdown;

pub use error::{ApiError, FieldError};
pub use gate::Access;
pub use metrics::ApiMetrics;
pub use openapi::{openapi, openapi_yaml};
pub use pinned::{keep_pinned, keep_pinned_once};
pub(crate) use project_state::ProjectState;
pub use serve::{Drain, serve};
pub use state::{AppState, Rooms};
pub use tidy::{tidy, tidy_once};
pub use warm_up::{warm_up, warm_up_once};

/// An upload that sends nothing for this long is given up.
const UPLOAD_IDLE: Duration = Duration::from_secs(60);

/// The service as an axum router.
pub fn router(state: AppState) -> Router {
    let shutdown = state.shutdown.clone();
    let (routes, _) = routes(&shutdown).split_for_parts();
    routes
        .route("/openapi.json", get(openapi::document))
        .fallback(no_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum_middleware::from_fn_with_state(state.clone(), audit::record))
        .layer(axum_middleware::from_fn_with_state(state.clone(), gate::admit))
        .layer(CatchPanicLayer::custom(middleware::panicked))
        .layer(axum_middleware::from_fn_with_state(state.clone(), middleware::measure))
        .layer(axum_middleware::from_fn_with_state(state.clone(), middleware::identify))
        .layer(axum_middleware::from_fn_with_state(shutdown, draining::close))
        .with_state(state)
}

/// Every documented route, once: the document and the service are made from this list.
fn routes(shutdown: &Shutdown) -> OpenApiRouter<AppState> {
    let asking_routes = asking_routes()
        .layer(axum_middleware::from_fn(deadline::keep))
        .layer(axum_middleware::from_fn_with_state(shutdown.clone(), draining::refuse));
    plain_routes().layer(axum_middleware::from_fn(middleware::limit_time)).merge(stream_routes()).merge(asking_routes)
}

/// Routes that answer soon.
fn plain_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(files::list_files))
        .routes(routes!(files::get_file, files::delete_file))
        .routes(routes!(annotation_jobs::create_annotation_job))
        .routes(routes!(distillation_jobs::create_distillation_job))
        .routes(routes!(evaluation_jobs::create_evaluation_job))
        .routes(routes!(jobs::list_jobs))
        .routes(routes!(jobs::get_job))
        .routes(routes!(job_requests::cancel_job))
        .routes(routes!(job_requests::pause_job))
        .routes(routes!(job_resume::resume_job))
        .routes(routes!(job_retry::retry_job))
        .routes(routes!(job_events::list_job_events))
        .routes(routes!(job_metrics::list_job_metrics))
        .routes(routes!(job_annotations::list_job_annotations))
        .routes(routes!(job_report::get_job_report))
        .routes(routes!(job_checkpoints::list_job_checkpoints))
        .routes(routes!(openai::fine_tuning::jobs::list_fine_tuning_jobs))
        .routes(routes!(openai::fine_tuning::create::create_fine_tuning_job))
        .routes(routes!(openai::fine_tuning::jobs::get_fine_tuning_job))
        .routes(routes!(openai::fine_tuning::requests::cancel_fine_tuning_job))
        .routes(routes!(openai::fine_tuning::requests::pause_fine_tuning_job))
        .routes(routes!(openai::fine_tuning::requests::resume_fine_tuning_job))
        .routes(routes!(openai::fine_tuning::events::list_fine_tuning_events))
        .routes(routes!(openai::fine_tuning::checkpoints::list_fine_tuning_checkpoints))
        .routes(routes!(models::list_models))
        .routes(routes!(models::get_model, models::delete_model))
        .routes(routes!(aliases::list_aliases))
        .routes(routes!(aliases::get_alias, aliases::put_alias, aliases::delete_alias))
        .routes(routes!(audit_log::list_audit_log))
        .routes(routes!(open_inference::routes::get_server))
        .routes(routes!(open_inference::routes::get_live))
        .routes(routes!(open_inference::routes::get_ready))
        .routes(routes!(open_inference::routes::get_model))
        .routes(routes!(open_inference::routes::get_model_version))
        .routes(routes!(open_inference::routes::get_model_ready))
        .routes(routes!(open_inference::routes::get_model_version_ready))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::metrics))
}

/// Routes whose time depends on the size of what they carry; a silent sender is cut off instead.
fn stream_routes() -> OpenApiRouter<AppState> {
    let limits = (DefaultBodyLimit::disable(), RequestBodyTimeoutLayer::new(UPLOAD_IDLE));
    let upload = routes!(upload::upload_file).layer::<_, Infallible>(limits);
    OpenApiRouter::new()
        .routes(upload)
        .routes(routes!(export::export_model))
        .routes(routes!(file_content::get_file_content))
        .routes(routes!(file_statistics::get_file_statistics))
}

/// Routes that ask a student: they take as long as it takes, or as long as the client says.
fn asking_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(predictions::create_prediction))
        .routes(routes!(open_inference::routes::infer_model))
        .routes(routes!(open_inference::routes::infer_model_version))
        .routes(routes!(openai::completions::create_completion))
        .routes(routes!(openai::chat_completions::create_chat_completion))
}

async fn no_route(request: Request) -> ApiError {
    ApiError::NoRoute(request.uri().path().chars().take(200).collect())
}

async fn method_not_allowed(request: Request) -> ApiError {
    let path = request.uri().path().chars().take(200).collect();
    ApiError::MethodNotAllowed { method: request.method().to_string(), path }
}
