//! The form in which a request about one job is answered: this service's own, or OpenAI's.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{ProjectState, error::ApiError, job_resource::JobResource};
use crate::domain::Job;

/// How a job is answered with.
pub trait JobForm {
    /// The answer to whoever has moved it.
    fn shown(state: &ProjectState, job: Job) -> impl Future<Output = Result<Response, ApiError>> + Send;

    /// The answer to whoever has made it.
    fn created(state: &ProjectState, job: Job) -> impl Future<Output = Result<Response, ApiError>> + Send;
}

/// The form of `/v1/jobs`.
pub struct Native;

impl JobForm for Native {
    async fn shown(state: &ProjectState, job: Job) -> Result<Response, ApiError> {
        Ok(Json(JobResource::with_place(state, job).await?).into_response())
    }

    /// 201, with its place.
    async fn created(state: &ProjectState, job: Job) -> Result<Response, ApiError> {
        let location = HeaderValue::try_from(format!("/v1/jobs/{}", job.id)).expect("an id is plain ASCII");
        let job = JobResource::with_place(state, job).await?;
        Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(job)).into_response())
    }
}
