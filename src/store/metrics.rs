//! Figures of a job by step.

use std::{collections::BTreeMap, fmt, str::FromStr};

use chrono::{DateTime, Utc};

use super::{Page, Store, StoreError, one_more};
use crate::domain::{JobId, Lease};

/// One figure at one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Which figure.
    pub name: String,
    /// The optimizer step; of an annotation the number of settled examples.
    pub step: i64,
    /// The figure; never infinite or not a number.
    pub value: f64,
    /// When it was last written.
    pub created_at: DateTime<Utc>,
}

impl Metric {
    /// Where a list goes on after this figure.
    pub fn cursor(&self) -> MetricCursor {
        MetricCursor { step: self.step, name: Some(self.name.clone()) }
    }
}

/// A place in a list of figures, which are ordered by step, then name. Written `120:loss`, or `120` for the place after
/// all figures of step 120.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricCursor {
    /// The optimizer step; of an annotation the number of settled examples.
    pub step: i64,
    /// The figure at that step; `None`: the last one.
    pub name: Option<String>,
}

impl fmt::Display for MetricCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}:{name}", self.step),
            None => write!(f, "{}", self.step),
        }
    }
}

impl FromStr for MetricCursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (step, name) = match text.split_once(':') {
            Some((step, name)) => (step, Some(name.to_owned())),
            None => (text, None),
        };
        let step = step.parse().map_err(|_| format!("{text:?} is not a step such as 120 or 120:loss"))?;
        Ok(Self { step, name })
    }
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
                    do update set value = excluded.value, created_at = excluded.created_at
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

    /// A job's figures by step, then name; only those of one name where it is given.
    pub async fn list_metrics(
        &self,
        id: JobId,
        name: Option<&str>,
        after: Option<&MetricCursor>,
        limit: u32,
    ) -> Result<Page<Metric>, StoreError> {
        let metrics = sqlx::query_as!(
            Metric,
            r#"-- list_metrics
            select name, step, value, created_at
            from job_metrics
            where job_id = $1
                and ($2::text is null or name = $2)
                and ($3::bigint is null or step > $3 or (step = $3 and name > $4::text))
            order by step, name
            limit $5"#,
            id.0,
            name,
            after.map(|cursor| cursor.step),
            after.and_then(|cursor| cursor.name.as_deref()),
            one_more(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(Page::cut(metrics, limit))
    }
}
