//! What a fine-tuning job has told, in one list: what happened, and its figures.

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{figures, find, told_id::ToldId};
use crate::{
    api::{
        ProjectState,
        error::ApiError,
        extract::{Id, Query, from_text},
        list::{List, MAX_LIMIT, page_size},
        openapi::OfOne,
    },
    domain::JobId,
    store::{Told, ToldWhat},
};

/// Something that a fine-tuning job has told.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FineTuningJobEvent)]
#[serde(deny_unknown_fields)]
pub struct FineTuningEvent {
    /// Its id; the cursor.
    id: String,
    /// Always `fine_tuning.job.event`.
    object: FineTuningEventObject,
    /// When it was told, in Unix seconds.
    created_at: i64,
    /// `info`, `warn` or `error`.
    level: String,
    /// A sentence.
    message: String,
    /// What it is.
    #[serde(rename = "type")]
    kind: FineTuningEventKind,
    /// A stable name to branch on; `metrics` for figures.
    code: String,
    /// Details; of figures `step`, `train_loss` (the weighted sum of the tasks' losses) and the others by the names that they
    /// have at `/v1/jobs/{id}/metrics`.
    #[schema(value_type = Object)]
    data: Value,
}

/// The one value of an event's `object`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub enum FineTuningEventObject {
    /// It is an event of a fine-tuning job.
    #[serde(rename = "fine_tuning.job.event")]
    Event,
}

/// What an event is.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FineTuningEventKind {
    /// Something happened.
    Message,
    /// Figures at a step.
    Metrics,
}

/// Which events to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FineTuningEventsQuery {
    /// The last id of the page before.
    #[serde(default, deserialize_with = "from_text")]
    #[param(value_type = Option<String>, example = "ftevent-000643c6d5b2f24000000000000014c1")]
    after: Option<ToldId>,
    /// Events of a page, 1 to 1000; default 20.
    #[serde(default, deserialize_with = "from_text")]
    limit: Option<u32>,
}

/// What happened to a fine-tuning job and its figures by step, newest first. To follow a job as it goes, take the streams of
/// `/v1/jobs/{id}/events` and `/v1/jobs/{id}/metrics`.
#[utoipa::path(get, path = "/v1/fine_tuning/jobs/{id}/events", tag = "openai",
    params(("id" = JobId, Path, description = "The job"), FineTuningEventsQuery),
    responses((status = 200, description = "A page of events", body = List<FineTuningEvent>), OfOne))]
pub async fn list_fine_tuning_events(
    state: ProjectState,
    id: Id<JobId>,
    Query(query): Query<FineTuningEventsQuery>,
) -> Result<Json<List<FineTuningEvent>>, ApiError> {
    let limit = page_size(query.limit, MAX_LIMIT)?;
    let job = find(&state, id).await?;
    let page = state.store.list_told(job.id, query.after.map(|after| after.0), limit).await?;
    let total = job.progress.map(|progress| progress.total);
    let events = page.items.into_iter().map(|told| FineTuningEvent::of(told, total)).collect();
    Ok(Json(List::new(events, page.has_more)))
}

impl FineTuningEvent {
    fn of(told: Told, total: Option<i64>) -> Self {
        use FineTuningEventKind::{Message, Metrics};

        let (kind, level, code, message, data) = match told.what {
            ToldWhat::Event { level, code, message, data } => (Message, level, code, message, data),
            ToldWhat::Figures { step, values } => {
                let message = figures::sentence(step, total, &values);
                let data = figures::named(step, &values);
                (Metrics, "info".to_owned(), "metrics".to_owned(), message, Value::Object(data))
            }
        };
        let (id, created_at) = (ToldId(told.place).to_string(), told.place.at.timestamp());
        Self { id, object: FineTuningEventObject::Event, created_at, level, message, kind, code, data }
    }
}
