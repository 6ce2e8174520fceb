//! How the first rows of an annotation turned out.

use crate::{
    domain::{AnnotationStatus, JobId, Lease},
    store::{Store, StoreError, rows::Place},
};

/// Rows that went wrong which a report shows.
const SHOWN: i64 = 10;
/// Characters of a text that a report shows.
const SHOWN_CHARS: i32 = 500;

/// What became of a job's first rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SmokeReport {
    /// Rows by what became of them.
    pub counts: Vec<(AnnotationStatus, i64)>,
    /// The first of those that are not valid.
    pub failing: Vec<FailingRow>,
}

/// A row that is not valid, its texts cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingRow {
    /// Its place in the file.
    pub example_index: i64,
    /// Its id there.
    pub example_id: String,
    /// What became of it.
    pub status: String,
    /// Why.
    pub reason: Option<String>,
    /// The teacher's text.
    pub raw_output: Option<String>,
}

impl SmokeReport {
    /// Rows of one status.
    pub fn of(&self, status: AnnotationStatus) -> i64 {
        self.counts.iter().filter(|(own, _)| *own == status).map(|(_, count)| count).sum()
    }

    /// All rows.
    pub fn rows(&self) -> i64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }
}

impl Store {
    /// What became of the examples before that place.
    pub async fn smoke_report(&self, id: JobId, end: i64) -> Result<SmokeReport, StoreError> {
        let rows = sqlx::query!(
            r#"-- smoke_report
            select status, count(*) as "count!" from annotations where job_id = $1 and example_index < $2 group by status"#,
            id.0,
            end,
        )
        .fetch_all(&self.pool)
        .await?;
        let counts = rows.into_iter().map(|row| {
            let at = Place { table: "annotations", id: &id };
            Ok((at.name("status", &row.status)?, row.count))
        });
        let counts = counts.collect::<Result<_, StoreError>>()?;
        let failing = sqlx::query_as!(
            FailingRow,
            r#"-- smoke_report: failing
            select example_index, example_id, status, left(reason, $3) as reason, left(raw_output, $3) as raw_output
            from annotations
            where job_id = $1 and example_index < $2 and status <> 'valid'
            order by example_index
            limit $4"#,
            id.0,
            end,
            SHOWN_CHARS,
            SHOWN,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(SmokeReport { counts, failing })
    }

    /// Whether a job's first rows have been judged, whatever came of it.
    pub async fn is_smoke_judged(&self, id: JobId) -> Result<bool, StoreError> {
        let judged = sqlx::query_scalar!(
            r#"-- is_smoke_judged
            select smoke is not null as "judged!" from annotation_sums where job_id = $1"#,
            id.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(judged.unwrap_or_default())
    }

    /// Notes that a job's first rows turned out well.
    pub async fn pass_smoke(&self, lease: Lease) -> Result<(), StoreError> {
        let done = sqlx::query!(
            r#"-- pass_smoke
            with holder as materialized (
                select id from jobs where id = $1 and lease_epoch = $2 and state = 'running' for share
            )
            update annotation_sums s set smoke = 'passed' from holder where s.job_id = holder.id"#,
            lease.job_id.0,
            lease.epoch,
        )
        .execute(&self.pool)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::LeaseLost(lease)) }
    }
}
