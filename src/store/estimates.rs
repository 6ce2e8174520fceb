//! What finished jobs took: for the estimates of new ones, and against their own.

use serde_json::Value;
use uuid::Uuid;

use super::{Store, StoreError, rows::Place, storable};
use crate::domain::{Estimate, EstimateError, JobId, JobKind, JobSpec, ProjectId, Taken};

/// A succeeded job that was estimated.
#[derive(Debug, Clone, PartialEq)]
pub struct PastJob {
    /// Its id.
    pub id: JobId,
    /// What it did.
    pub spec: JobSpec,
    /// What it was thought to take.
    pub estimate: Estimate,
    /// What it took.
    pub taken: Taken,
}

impl Store {
    /// The newest succeeded jobs of a kind that were estimated. One whose row cannot be read, which a newer program or a
    /// hand may have written, is left out: an estimate is drawn from what there is.
    pub async fn past_jobs(&self, project: ProjectId, kind: JobKind, limit: u32) -> Result<Vec<PastJob>, StoreError> {
        let rows = sqlx::query_as!(
            PastRow,
            r#"-- past_jobs
            select j.id, j.spec, j.estimate as "estimate!", j.result as "result!",
                j.worked_seconds,
                (select max(m.value) from job_metrics m where m.job_id = j.id and m.name = 'memory_bytes') as memory_bytes
            from jobs j
            where j.project_id = $1 and j.kind = $2 and j.state = 'succeeded' and j.estimate is not null
            order by j.id desc
            limit $3"#,
            project.0,
            kind.as_str(),
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(PastRow::read).filter_map(readable).collect())
    }

    /// Compares the estimates of at most `limit` succeeded jobs with what these took, and stores the error. Returns the
    /// jobs.
    pub async fn compare_estimates(&self, limit: u32) -> Result<Vec<JobId>, StoreError> {
        let rows = sqlx::query_as!(
            PastRow,
            r#"-- compare_estimates: read
            select j.id, j.spec, j.estimate as "estimate!", j.result as "result!",
                j.worked_seconds,
                (select max(m.value) from job_metrics m where m.job_id = j.id and m.name = 'memory_bytes') as memory_bytes
            from jobs j
            where j.state = 'succeeded' and j.estimate is not null and j.estimate_error is null
            order by j.id
            limit $1"#,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let mut compared = Vec::new();
        for row in rows {
            let id = JobId(row.id);
            // A row that a newer program wrote is done with too, or it would come back for ever.
            let error = row.read().map(|past| past.estimate.compare(&past.taken)).unwrap_or_default();
            self.store_estimate_error(id, &error).await?;
            compared.push(id);
        }
        Ok(compared)
    }

    async fn store_estimate_error(&self, id: JobId, error: &EstimateError) -> Result<(), StoreError> {
        sqlx::query!(
            r#"-- store_estimate_error
            update jobs set estimate_error = $2 where id = $1 and state = 'succeeded' and estimate_error is null"#,
            id.0,
            storable::json(error),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

fn readable(past: Result<PastJob, StoreError>) -> Option<PastJob> {
    past.inspect_err(|error| tracing::debug!(%error, "no estimate is drawn from this job")).ok()
}

struct PastRow {
    id: Uuid,
    spec: Value,
    estimate: Value,
    result: Value,
    worked_seconds: f64,
    memory_bytes: Option<f64>,
}

impl PastRow {
    fn read(self) -> Result<PastJob, StoreError> {
        let id = JobId(self.id);
        let at = Place { table: "jobs", id: &id };
        let seconds = Some(self.worked_seconds).filter(|seconds| *seconds > 0.0);
        let taken = Taken { result: self.result, seconds, memory_bytes: self.memory_bytes };
        Ok(PastJob { id, spec: at.json("spec", self.spec)?, estimate: at.json("estimate", self.estimate)?, taken })
    }
}
