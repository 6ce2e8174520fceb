//! What happened to a job, for people and dashboards.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{PAGE_BYTES, Page, Store, StoreError, one_more, rows::Place, storable};
use crate::domain::{JobId, JobWarning, Lease};

/// How grave an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventLevel {
    /// Good to know.
    Info,
    /// Somebody should look at it.
    Warn,
    /// Something failed.
    Error,
}

impl EventLevel {
    /// Every level.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warn, Self::Error];

    /// The level's name in SQL, JSON and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl FromStr for EventLevel {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|level| level.as_str() == name);
        found.ok_or_else(|| format!("unknown event level {name:?}"))
    }
}

/// An event to write down.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// How grave it is.
    pub level: EventLevel,
    /// A stable name to branch on.
    pub code: String,
    /// A sentence.
    pub message: String,
    /// Details, an object.
    pub data: Value,
}

/// A stored event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its place among all events; the cursor of lists.
    pub id: i64,
    /// When it happened.
    pub created_at: DateTime<Utc>,
    /// How grave it is.
    pub level: EventLevel,
    /// A stable name to branch on.
    pub code: String,
    /// A sentence.
    pub message: String,
    /// Details, an object.
    pub data: Value,
}

/// How often what holds for a job is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Telling {
    EachTime,
    Once,
}

impl Store {
    /// Writes an event of the worker that holds the job.
    pub async fn append_event(&self, lease: Lease, event: &NewEvent) -> Result<(), StoreError> {
        self.append(lease, event, Telling::EachTime).await
    }

    /// The same, unless the job has one of its code since somebody last queued it: what holds for a job is told once, however
    /// many attempts find it.
    pub async fn append_event_once(&self, lease: Lease, event: &NewEvent) -> Result<(), StoreError> {
        self.append(lease, event, Telling::Once).await
    }

    async fn append(&self, lease: Lease, event: &NewEvent, telling: Telling) -> Result<(), StoreError> {
        let held = sqlx::query_scalar!(
            r#"-- append
            with holder as materialized (
                select id, project_id from jobs where id = $1 and lease_epoch = $2 and state = 'running' for share
            ), told as (
                insert into job_events (job_id, project_id, level, code, message, data)
                select id, project_id, $3, $4, $5, $6
                from holder
                where not $7 or not exists (
                    select from job_events e
                    where e.job_id = holder.id and e.code = $4
                        and e.id > coalesce(
                            (select max(q.id) from job_events q where q.job_id = holder.id and q.code = 'queued'), 0
                        )
                )
            )
            select id from holder"#,
            lease.job_id.0,
            lease.epoch,
            event.level.as_str(),
            event.code,
            storable::text(&event.message),
            storable::json(&event.data),
            telling == Telling::Once,
        )
        .fetch_optional(&self.pool)
        .await?;
        held.map(drop).ok_or(StoreError::LeaseLost(lease))
    }

    /// Adds a warning to the job that a worker holds, with its event, unless the job has it already.
    pub async fn warn(&self, lease: Lease, warning: &JobWarning) -> Result<(), StoreError> {
        let held = sqlx::query_scalar!(
            r#"-- warn
            with holder as materialized (
                select id from jobs where id = $1 and lease_epoch = $2 and state = 'running' for update
            ), moved as (
                update jobs j
                set warnings = warnings || jsonb_build_array($3::jsonb)
                from holder
                where j.id = holder.id and not warnings @> jsonb_build_array($3::jsonb)
                returning j.id, j.project_id
            ), event as (
                insert into job_events (job_id, project_id, level, code, message, data)
                select id, project_id, 'warn', $3::jsonb ->> 'code', $3::jsonb ->> 'message', $3::jsonb -> 'data' from moved
            )
            select id from holder"#,
            lease.job_id.0,
            lease.epoch,
            storable::json(warning),
        )
        .fetch_optional(&self.pool)
        .await?;
        held.map(drop).ok_or(StoreError::LeaseLost(lease))
    }

    /// A job's events, oldest first, after the event of that id: at most `limit`, and fewer where they are large (see
    /// `PAGE_BYTES`).
    pub async fn list_events(&self, id: JobId, after: Option<i64>, limit: u32) -> Result<Page<Event>, StoreError> {
        let rows = sqlx::query!(
            r#"-- list_events
            with page as (
                select *
                from job_events
                where job_id = $1 and ($2::bigint is null or id > $2)
                order by id
                limit $3
            ), measured as (
                select *, count(*) over () as found,
                    sum(octet_length(message) + octet_length(data::text))
                        over (order by id rows between unbounded preceding and 1 preceding) as bytes_before
                from page
            )
            select id as "id!", created_at as "created_at!", level as "level!", code as "code!", message as "message!",
                data as "data!", found as "found!"
            from measured
            where coalesce(bytes_before, 0) < $4
            order by id"#,
            id.0,
            after,
            one_more(limit),
            PAGE_BYTES,
        )
        .fetch_all(&self.pool)
        .await?;
        let found = rows.first().map_or(0, |row| row.found);
        let events = rows.into_iter().map(|row| {
            let level = Place { table: "job_events", id: &row.id }.name("level", &row.level)?;
            let (code, message, data) = (row.code, row.message, row.data);
            Ok(Event { id: row.id, created_at: row.created_at, level, code, message, data })
        });
        Ok(Page::of_some(events.collect::<Result<_, StoreError>>()?, found, limit))
    }
}
