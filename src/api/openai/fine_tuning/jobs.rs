//! Fine-tuning jobs, listed and looked at.

use axum::{Json, response::Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    find,
    job::{FineTuning, FineTuningJobResource},
};
use crate::{
    api::{
        ProjectState,
        error::ApiError,
        extract::{Id, Query, from_text},
        job_form::JobForm,
        list::{List, MAX_LIMIT, page_size},
        metadata_filter::MetadataFilter,
        openapi::{OfOne, Plain},
    },
    domain::{JobId, JobKind},
    store::JobFilter,
};

/// Which fine-tuning jobs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FineTuningJobsQuery {
    /// The last id of the page before.
    #[serde(default, deserialize_with = "from_text")]
    after: Option<JobId>,
    /// Jobs of a page, 1 to 1000; default 20.
    #[serde(default, deserialize_with = "from_text")]
    limit: Option<u32>,
    /// Only jobs with these labels, each written `metadata[team]=nlp`; `metadata=null`: only jobs without any.
    #[serde(default)]
    #[param(style = DeepObject, explode, value_type = Option<HashMap<String, String>>, example = json!({"team": "nlp"}))]
    metadata: Option<MetadataFilter>,
}

/// List distillations in OpenAI's shape, newest first; those submitted as `/v1/distillation-jobs` as well.
#[utoipa::path(get, path = "/v1/fine_tuning/jobs", tag = "openai", params(FineTuningJobsQuery),
    responses((status = 200, description = "A page of jobs", body = List<FineTuningJobResource>), Plain))]
pub async fn list_fine_tuning_jobs(
    state: ProjectState,
    Query(query): Query<FineTuningJobsQuery>,
) -> Result<Json<List<FineTuningJobResource>>, ApiError> {
    let limit = page_size(query.limit, MAX_LIMIT)?;
    let metadata = query.metadata.map(MetadataFilter::labels).transpose()?;
    let kind = Some(JobKind::Distillation);
    let filter = JobFilter { kind, metadata, after: query.after, limit, ..JobFilter::default() };
    let page = state.store.list_jobs(state.project, &filter).await?;
    Ok(Json(List::new(page.items.into_iter().filter_map(FineTuningJobResource::of).collect(), page.has_more)))
}

/// Look at a distillation in OpenAI's shape. A job of another kind is not found here.
#[utoipa::path(get, path = "/v1/fine_tuning/jobs/{id}", tag = "openai",
    params(("id" = JobId, Path, description = "The job")),
    responses((status = 200, description = "The job", body = FineTuningJobResource), OfOne))]
pub async fn get_fine_tuning_job(state: ProjectState, id: Id<JobId>) -> Result<Response, ApiError> {
    FineTuning::shown(&state, find(&state, id).await?).await
}
