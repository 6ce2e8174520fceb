//! Figures of a job by step.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{Page, Store, StoreError, one_more};
use crate::domain::{JobId, Lease};

/// One figure at one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// The place in the order of writing; a figure that is written again gets a new one.
    pub id: i64,
    /// Which figure.
    pub name: String,
    /// The optimizer step; of an annotation the number of settled examples.
    pub step: i64,
    /// The figure; never infinite or not a number.
    pub value: f64,
    /// When it was last written.
    pub created_at: DateTime<Utc>,
}

/// A job's figures at one step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepFigures {
    /// The step.
    pub step: i64,
    /// By metric name.
    pub values: BTreeMap<String, f64>,
}

impl Store {
    /// Writes the figures of one step; figures that are there are overwritten, those that are infinite or not a number
    /// are left out.
    pub async fn append_metrics(
        &self,
        lease: Lease,
        step: i64,
        values: &BTreeMap<String, f64>,
    ) -> Result<(), StoreError> {
        let (names, values): (Vec<String>, Vec<f64>) =
            values.iter().filter(|(_, value)| value.is_finite()).map(|(name, value)| (name.clone(), *value)).unzip();
        let held = sqlx::query_scalar!(
            r#"-- append_metrics
            with holder as materialized (
                select id, project_id from jobs where id = $1 and lease_epoch = $2 and state = 'running' for share
            ), written as (
                insert into job_metrics (job_id, project_id, step, name, value)
                select holder.id, holder.project_id, $3, figure.name, figure.value
                from holder, unnest($4::text[], $5::double precision[]) as figure (name, value)
                on conflict (job_id, step, name)
                    do update set id = default, value = excluded.value, created_at = excluded.created_at
            )
            select id from holder"#,
            lease.job_id.0,
            lease.epoch,
            step,
            &names,
            &values,
        )
        .fetch_optional(&self.pool)
        .await?;
        held.map(drop).ok_or(StoreError::LeaseLost(lease))
    }

    /// A job's figures in the order of their writing; only those of one name where it is given. Where no attempt has
    /// repeated steps, that is by step.
    pub async fn list_metrics(
        &self,
        id: JobId,
        name: Option<&str>,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Page<Metric>, StoreError> {
        let metrics = sqlx::query_as!(
            Metric,
            r#"-- list_metrics
            select id, name, step, value, created_at
            from job_metrics
            where job_id = $1
                and ($2::text is null or name = $2)
                and ($3::bigint is null or id > $3)
            order by id
            limit $4"#,
            id.0,
            name,
            after,
            one_more(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(Page::cut(metrics, limit))
    }

    /// A job's figures at these steps, by step and metric name.
    pub async fn figures_at(
        &self,
        job: JobId,
        steps: &[i64],
    ) -> Result<BTreeMap<i64, BTreeMap<String, f64>>, StoreError> {
        let rows = sqlx::query!(
            r#"-- figures_at
            select step, name, value from job_metrics where job_id = $1 and step = any ($2)"#,
            job.0,
            steps,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut found = BTreeMap::<i64, BTreeMap<String, f64>>::new();
        for row in rows {
            found.entry(row.step).or_default().insert(row.name, row.value);
        }
        Ok(found)
    }

    /// Names of the figures that a job has at any step.
    pub async fn figure_names(&self, job: JobId) -> Result<BTreeSet<String>, StoreError> {
        let names = sqlx::query_scalar!(
            r#"-- figure_names
            select distinct name from job_metrics where job_id = $1"#,
            job.0,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(names.into_iter().collect())
    }

    /// A job's figures step by step, those after this one.
    pub async fn list_figures(
        &self,
        job: JobId,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Page<StepFigures>, StoreError> {
        let rows = sqlx::query!(
            r#"-- list_figures
            select step, array_agg(name order by name) as "names!", array_agg(value order by name) as "values!"
            from job_metrics
            where job_id = $1 and ($2::bigint is null or step > $2)
            group by step
            order by step
            limit $3"#,
            job.0,
            after,
            one_more(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let figures = |names: Vec<String>, values: Vec<f64>| names.into_iter().zip(values).collect();
        let steps = rows.into_iter().map(|row| StepFigures { step: row.step, values: figures(row.names, row.values) });
        Ok(Page::cut(steps.collect(), limit))
    }
}
