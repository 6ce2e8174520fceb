//! `/v1/audit-log`: who changed what.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    ProjectState,
    error::ApiError,
    extract::{Query, from_text},
    list::{List, MAX_LIMIT, page_size},
    openapi::Plain,
};
use crate::store::AuditEntry;

/// A change that was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
#[serde(deny_unknown_fields)]
pub struct AuditResource {
    /// Its place in the log, greater for later ones; the cursor of the list.
    #[schema(example = 17)]
    id: i64,
    /// Always `audit_entry`.
    object: AuditObject,
    /// The id of the key that asked; null where no key was needed, and for the command line.
    #[schema(required = true, example = "1hTqe9Xb")]
    key: Option<String>,
    /// What was asked for: method and route, or `keys create` and `keys revoke` of the command line.
    #[schema(example = "POST /v1/annotation-jobs")]
    operation: String,
    /// The id or name of what was changed or made; null where nothing was made.
    #[schema(required = true, example = "job-0198f1e2b7c67d2ea1b3c4d5e6f70819")]
    resource: Option<String>,
    /// The request's `x-request-id`; null for the command line.
    #[schema(required = true, example = "req_0198f1e2b7c67d2ea1b3c4d5e6f70819")]
    request_id: Option<String>,
    /// Whether it was done.
    outcome: AuditOutcome,
    /// The answer's status; null for the command line, and while `outcome` is `unknown`.
    #[schema(required = true, example = 201)]
    status: Option<u16>,
    /// When it was asked for, in Unix seconds.
    #[schema(example = 1_788_000_000)]
    created_at: i64,
    /// When it was done or refused, in Unix seconds; null while `outcome` is `unknown`.
    #[schema(required = true, example = 1_788_000_000)]
    ended_at: Option<i64>,
}

/// The one value of an entry's `object`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditObject {
    /// It is an entry of the audit log.
    AuditEntry,
}

/// How a change ended.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// It was refused, or failed.
    Refused,
    /// It is under way, or the process or its client went away before the answer.
    Unknown,
}

/// Which entries to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// The last `id` of the page before.
    #[serde(default, deserialize_with = "from_text")]
    #[param(example = 17)]
    after: Option<i64>,
    /// Entries of a page, 1 to 1000; default 20.
    #[serde(default, deserialize_with = "from_text")]
    #[param(example = 20)]
    limit: Option<u32>,
}

/// Who changed what, newest first: uploads, jobs, what was asked of jobs, aliases, deletions, and keys. Predictions change nothing
/// and are not here. An entry is written before its change is made, and completed before the answer is sent.
#[utoipa::path(get, path = "/v1/audit-log", tag = "service", params(AuditQuery),
    responses((status = 200, description = "A page of the log", body = List<AuditResource>), Plain))]
pub async fn list_audit_log(
    state: ProjectState,
    Query(query): Query<AuditQuery>,
) -> Result<axum::Json<List<AuditResource>>, ApiError> {
    let limit = page_size(query.limit, MAX_LIMIT)?;
    let page = state.store.list_audit(state.project, query.after, limit).await?;
    Ok(axum::Json(List::new(page.items.into_iter().map(AuditResource::from).collect(), page.has_more)))
}

impl From<AuditEntry> for AuditResource {
    fn from(entry: AuditEntry) -> Self {
        let outcome = match (entry.ended_at, entry.status) {
            (None, _) => AuditOutcome::Unknown,
            (Some(_), Some(400..)) => AuditOutcome::Refused,
            (Some(_), _) => AuditOutcome::Done,
        };
        Self {
            id: entry.id,
            object: AuditObject::AuditEntry,
            key: entry.key.map(|key| key.to_string()),
            operation: entry.operation,
            resource: entry.resource,
            request_id: entry.request_id,
            outcome,
            status: entry.status,
            created_at: entry.created_at.timestamp(),
            ended_at: entry.ended_at.map(|at| at.timestamp()),
        }
    }
}
