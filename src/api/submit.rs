//! Submitting a job of any kind: once per key, or as a dry run that changes nothing.

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    ProjectState,
    error::ApiError,
    estimate::{self, Question},
    extract::{Id, JsonBytes, Query, from_text},
    idempotency::{Key, fingerprint, once},
    job_form::{JobForm, Native},
};
use crate::{
    domain::{Estimate, Job, JobId, JobKind, JobSpec, JobWarning},
    store::{NewJob, StoreError},
};

/// A request that submits a job.
#[derive(Debug)]
pub struct Submit<T> {
    request: T,
    dry_run: bool,
    key: Key,
    fingerprint: String,
}

/// How a job is submitted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SubmitQuery {
    /// `true`: answer with the resolved spec and an estimate, and change nothing.
    #[serde(default, deserialize_with = "from_text")]
    #[param(example = false)]
    dry_run: Option<bool>,
}

/// What a submission would do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DryRun {
    /// Always `dry_run`.
    object: DryRunObject,
    /// What the job would do.
    kind: JobKind,
    /// What was asked, with every default filled in.
    spec: JobSpec,
    /// Higher runs sooner.
    #[schema(example = 0)]
    priority: i32,
    /// Jobs that it would wait for.
    #[schema(example = json!([]))]
    depends_on: Vec<JobId>,
    /// What its user should know though it would stop nothing.
    warnings: Vec<JobWarning>,
    /// What it would probably take; null where nothing can be said.
    #[schema(required = true)]
    estimate: Option<Estimate>,
    /// What an annotation's teacher would be asked about the first rows, 3 at most, word for word.
    questions: Vec<Question>,
}

/// The one value of a dry run's `object`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DryRunObject {
    /// It is a dry run.
    DryRun,
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Submit<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let Query(query) = Query::<SubmitQuery>::from_request_parts(&mut parts, state).await?;
        let key = Key::from_request_parts(&mut parts, state).await?;
        let bytes = JsonBytes::read(&parts.headers, body).await?;
        let request = bytes.parse()?;
        let dry_run = query.dry_run.unwrap_or(false);
        Ok(Self { request, dry_run, key, fingerprint: fingerprint(bytes.as_slice()) })
    }
}

/// Resolves the request and queues the job: 201 with its place. A dry run is answered with 200.
pub async fn submit<T>(
    state: &ProjectState,
    submit: Submit<T>,
    route: &'static str,
    resolve: impl AsyncFnOnce(&ProjectState, T) -> Result<NewJob, ApiError>,
) -> Result<Response, ApiError> {
    submit_as::<T, Native>(state, submit, route, resolve).await
}

/// The same, with the answer in another form.
pub async fn submit_as<T, F: JobForm>(
    state: &ProjectState,
    submit: Submit<T>,
    route: &'static str,
    resolve: impl AsyncFnOnce(&ProjectState, T) -> Result<NewJob, ApiError>,
) -> Result<Response, ApiError> {
    let Submit { request, dry_run, key, fingerprint } = submit;
    if dry_run {
        return preview(state, resolve(state, request).await?).await;
    }
    let act = async |holder| {
        let new = resolve(state, request).await?;
        let estimate = estimate::of(state, &new.spec).await?;
        let job = state.store.create_job(&NewJob { estimate, holder, ..new }).await.map_err(gone)?;
        F::created(state, job).await
    };
    once(state, key, route, fingerprint, act, async |id| F::created(state, made(state, id).await?).await).await
}

async fn preview(state: &ProjectState, new: NewJob) -> Result<Response, ApiError> {
    let (estimate, questions) = estimate::with_questions(state, &new.spec).await?;
    let body = DryRun {
        object: DryRunObject::DryRun,
        kind: new.spec.kind(),
        spec: new.spec,
        priority: new.priority,
        depends_on: new.depends_on,
        warnings: new.warnings,
        estimate,
        questions,
    };
    Ok(axum::Json(body).into_response())
}

/// A job that was made by a request whose answer was never stored.
async fn made(state: &ProjectState, id: Uuid) -> Result<Job, ApiError> {
    let id = JobId(id);
    let job = state.store.job(state.project, id).await?;
    job.ok_or_else(|| Id(id).missing())
}

/// What was there when the request was checked may be gone when the job is stored.
fn gone(error: StoreError) -> ApiError {
    match error {
        StoreError::Missing { what, id } => {
            ApiError::field("#", "not_found", format!("{what} {id} is not there any more"))
        }
        other => other.into(),
    }
}
