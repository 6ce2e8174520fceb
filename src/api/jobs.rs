//! `/v1/jobs`: any kind of job, listed and looked at. What can be asked of one is in `job_requests`.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::IntoParams;

use super::{
    AppState,
    error::ApiError,
    extract::{Id, Query, from_text},
    job_resource::{JobResource, find},
    list::{List, MAX_LIMIT, page_size},
    openapi::{OfOne, Plain},
};
use crate::{
    domain::{JobId, JobKind, JobState},
    store::{JobFilter, Store},
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

/// Labels that listed jobs have.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum MetadataFilter {
    /// All of these; jobs may have others besides.
    Pairs(BTreeMap<String, String>),
    /// The word `null`: none at all.
    Word(String),
}

impl MetadataFilter {
    fn into_map(self) -> Map<String, Value> {
        match self {
            Self::Pairs(pairs) => pairs.into_iter().map(|(key, value)| (key, Value::String(value))).collect(),
            Self::Word(_) => Map::new(),
        }
    }

    /// The only word is `null`.
    fn check(&self) -> Result<(), ApiError> {
        match self {
            Self::Word(word) if word != "null" => {
                let detail =
                    format!("metadata is {word:?}; write metadata[key]=value, or metadata=null for jobs without");
                Err(ApiError::field("#/metadata", "invalid_value", detail))
            }
            _ => Ok(()),
        }
    }
}

/// List jobs of any kind, newest first.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", params(JobsQuery),
    responses((status = 200, description = "A page of jobs", body = List<JobResource>), Plain))]
pub async fn list_jobs(
    State(state): State<AppState>,
    Query(query): Query<JobsQuery>,
) -> Result<axum::Json<List<JobResource>>, ApiError> {
    let limit = page_size(query.limit, MAX_LIMIT)?;
    query.metadata.as_ref().map_or(Ok(()), MetadataFilter::check)?;
    let metadata = query.metadata.map(MetadataFilter::into_map);
    let filter = JobFilter { kind: query.kind, state: query.state, metadata, after: query.after, limit };
    let page = state.store.list_jobs(Store::default_project(), &filter).await?;
    Ok(axum::Json(List::new(page.items.into_iter().map(JobResource::of).collect(), page.has_more)))
}

/// Look at a job: where it stands, how far it is, what it found.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs", params(("id" = JobId, Path, description = "The job")),
    responses((status = 200, description = "The job", body = JobResource), OfOne))]
pub async fn get_job(State(state): State<AppState>, id: Id<JobId>) -> Result<axum::Json<JobResource>, ApiError> {
    let job = find(&state, id).await?;
    JobResource::with_place(&state, job).await.map(axum::Json)
}
