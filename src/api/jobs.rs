//! `/v1/jobs`: any kind of job, listed and looked at. What can be asked of one is in `job_requests`.

use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    ProjectState,
    error::ApiError,
    extract::{Id, Query, from_text},
    job_resource::{JobResource, find},
    list::{List, MAX_LIMIT, page_size},
    metadata_filter::MetadataFilter,
    openapi::{OfOne, Plain},
};
use crate::{
    domain::{JobId, JobKind, JobState},
    store::JobFilter,
};

/// Which jobs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobsQuery {
    /// Only jobs of this kind.
    #[serde(default, deserialize_with = "from_text")]
    kind: Option<JobKind>,
    /// Only jobs in this state.
    #[serde(default, deserialize_with = "from_text")]
    state: Option<JobState>,
    /// Only jobs with these labels, each written `metadata[team]=nlp`; `metadata=null`: only jobs without any.
    #[serde(default)]
    #[param(style = DeepObject, explode, value_type = Option<HashMap<String, String>>, example = json!({"team": "nlp"}))]
    metadata: Option<MetadataFilter>,
    /// The last id of the page before.
    #[serde(default, deserialize_with = "from_text")]
    after: Option<JobId>,
    /// Jobs of a page, 1 to 1000; default 20.
    #[serde(default, deserialize_with = "from_text")]
    limit: Option<u32>,
}

/// List jobs of any kind, newest first.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", params(JobsQuery),
    responses((status = 200, description = "A page of jobs", body = List<JobResource>), Plain))]
pub async fn list_jobs(
    state: ProjectState,
    Query(query): Query<JobsQuery>,
) -> Result<axum::Json<List<JobResource>>, ApiError> {
    let limit = page_size(query.limit, MAX_LIMIT)?;
    let metadata = query.metadata.map(MetadataFilter::labels).transpose()?;
    let filter = JobFilter { kind: query.kind, state: query.state, metadata, after: query.after, limit };
    let page = state.store.list_jobs(state.project, &filter).await?;
    Ok(axum::Json(List::new(page.items.into_iter().map(JobResource::of).collect(), page.has_more)))
}

/// Look at a job: where it stands, how far it is, what it found.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs", params(("id" = JobId, Path, description = "The job")),
    responses((status = 200, description = "The job", body = JobResource), OfOne))]
pub async fn get_job(state: ProjectState, id: Id<JobId>) -> Result<axum::Json<JobResource>, ApiError> {
    let job = find(&state, id).await?;
    JobResource::with_place(&state, job).await.map(axum::Json)
}
