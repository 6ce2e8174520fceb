//! `/v1/jobs`: any kind of job, looked at and cancelled.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::IntoParams;

use super::{
    AppState,
    error::ApiError,
    extract::{Id, Nothing, Query, from_text},
    idempotency::{Key, KeyHeader, digest, once},
    job_resource::{JobResource, find},
    list::{List, MAX_LIMIT, page_size},
    openapi::{Act, OfOne, Plain},
};
use crate::{
    domain::{Job, JobId, JobKind, JobState},
    store::{JobFilter, Store, StoreError},
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

/// Cancel a job. A waiting job is cancelled at once, a running one as soon as its worker has stopped; a job that is over
/// stays as it is. Asking twice does no harm.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", tag = "jobs",
    params(("id" = JobId, Path, description = "The job"), KeyHeader),
    responses((status = 200, description = "The job as it stands now", body = JobResource), Act))]
pub async fn cancel_job(
    State(state): State<AppState>,
    id: Id<JobId>,
    key: Key,
    _: Query<Nothing>,
) -> Result<Response, ApiError> {
    let cancel = async || state.store.cancel_job(Store::default_project(), id.0).await;
    act(&state, key, "POST /v1/jobs/{id}/cancel", id, cancel).await
}

/// Moves a job once per key, and answers with the job as it stands then.
async fn act(
    state: &AppState,
    key: Key,
    route: &'static str,
    id: Id<JobId>,
    change: impl AsyncFnOnce() -> Result<Option<Job>, StoreError>,
) -> Result<Response, ApiError> {
    let moved = async |_| {
        let job = change().await?.ok_or_else(|| id.missing())?;
        Ok(axum::Json(JobResource::with_place(state, job).await?).into_response())
    };
    let fingerprint = digest(&[id.0.to_string().as_bytes()]);
    // Nothing is made, so that there is nothing to answer for again.
    once(state, key, route, fingerprint, moved, async |_| Err(ApiError::KeyBusy)).await
}
