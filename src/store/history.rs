//! What a job has told, newest first: its events, and its figures by what was written together.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Page, Store, StoreError, one_more, rows::Place};
use crate::domain::JobId;

/// No report of a step has more figures.
const FIGURES: i64 = 16;

/// A place in a job's history. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ToldAt {
    /// When it was told, to the microsecond.
    pub at: DateTime<Utc>,
    /// Which list it is from.
    pub list: ToldList,
    /// Its place in that list; of figures the least.
    pub id: i64,
}

/// Which list of a job something is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ToldList {
    /// Its events.
    Events,
    /// Its figures.
    Figures,
}

/// Something that a job has told.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Its place.
    pub place: ToldAt,
    /// What it is.
    pub what: ToldWhat,
}

/// What a job has told.
#[derive(Debug, Clone, PartialEq)]
pub enum ToldWhat {
    /// Something happened.
    Event {
        /// `info`, `warn` or `error`.
        level: String,
        /// A stable name to branch on.
        code: String,
        /// A sentence.
        message: String,
        /// Details, an object.
        data: Value,
    },
    /// Figures at a step: those of the training, or those of an exam.
    Figures {
        /// The optimizer step.
        step: i64,
        /// By metric name.
        values: BTreeMap<String, f64>,
    },
}

impl Store {
    /// What a job has told before a place, newest first.
    ///
    /// A report's rows are written by one statement and some microseconds apart, so the rows before a place are looked for a
    /// millisecond further, and the place is held to whole reports.
    pub async fn list_told(&self, id: JobId, before: Option<ToldAt>, limit: u32) -> Result<Page<Told>, StoreError> {
        let rows = sqlx::query_as!(
            ToldRow,
            r#"-- list_told
            with happened as (
                select created_at, 0 as list, id, level, code, message, data, null::bigint as step
                from job_events
                where job_id = $1 and ($2::timestamptz is null or (created_at, 0, id) < ($2, $3::int, $4::bigint))
                order by id desc
                limit $5
            ), newest as (
                select * from job_metrics
                where job_id = $1 and ($2::timestamptz is null or created_at < $2 + interval '1 millisecond')
                order by created_at desc, id desc
                limit ($5 + 4) * $6
            ), measured as (
                select min(created_at) as created_at, 1 as list, min(id) as id, null::text as level, null::text as code,
                    null::text as message, jsonb_object_agg(name, value) as data, step
                from newest
                group by step, name = 'label_accuracy'
            )
            select created_at as "created_at!", list as "list!", id as "id!", level, code, message, data as "data!", step
            from (
                select * from happened
                union all
                select * from measured where $2::timestamptz is null or (created_at, 1, id) < ($2, $3, $4)
            ) told
            order by created_at desc, list desc, id desc
            limit $5"#,
            id.0,
            before.map(|place| place.at),
            before.map(|place| place.list as i32),
            before.map(|place| place.id),
            one_more(limit),
            FIGURES,
        )
        .fetch_all(&self.pool)
        .await?;
        let told = rows.into_iter().map(Told::try_from).collect::<Result<_, _>>()?;
        Ok(Page::cut(told, limit))
    }
}

struct ToldRow {
    created_at: DateTime<Utc>,
    list: i32,
    id: i64,
    level: Option<String>,
    code: Option<String>,
    message: Option<String>,
    data: Value,
    step: Option<i64>,
}

impl TryFrom<ToldRow> for Told {
    type Error = StoreError;

    fn try_from(row: ToldRow) -> Result<Self, StoreError> {
        let list = if row.list == 0 { ToldList::Events } else { ToldList::Figures };
        let place = ToldAt { at: row.created_at, list, id: row.id };
        let what = match row.step {
            Some(step) => {
                ToldWhat::Figures { step, values: Place { table: "job_metrics", id: &row.id }.json("value", row.data)? }
            }
            None => ToldWhat::Event {
                level: row.level.unwrap_or_default(),
                code: row.code.unwrap_or_default(),
                message: row.message.unwrap_or_default(),
                data: row.data,
            },
        };
        Ok(Self { place, what })
    }
}
