//! Reading jobs. Their making is in `job_creation`, what people ask of them later in `requests`, what workers do in `queue`.

use serde_json::{Map, Value};

use super::{
    Page, Store, StoreError, one_more,
    rows::{JobRow, Place},
    storable,
};
use crate::domain::{Job, JobId, JobKind, JobState, ProjectId};

/// Which jobs a list has, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobFilter {
    /// Only of this kind.
    pub kind: Option<JobKind>,
    /// Only in this state.
    pub state: Option<JobState>,
    /// Only with these labels of the user's own; without any: only jobs that have none.
    pub metadata: Option<Map<String, Value>>,
    /// Only older than this one.
    pub after: Option<JobId>,
    /// At most so many.
    pub limit: u32,
}

/// Where a queued job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePlace {
    /// Its place among the jobs of its kind that may run now, from 1.
    pub position: i64,
    /// How many these are, itself included.
    pub depth: i64,
    /// Jobs that must succeed before it may run.
    pub waits_for: Vec<JobId>,
}

impl Store {
    /// One job of a project.
    pub async fn job(&self, project: ProjectId, id: JobId) -> Result<Option<Job>, StoreError> {
        let row = sqlx::query_as!(
            JobRow,
            r#"-- job
            select j.id, j.project_id, j.kind, j.state, j.spec, j.priority, j.progress_step, j.progress_total, j.progress_at,
                j.result, j.error, j.attempt, j.max_attempts, j.lost_count, j.lease_epoch, j.lease_owner,
                array(select d.depends_on_id from job_dependencies d where d.job_id = j.id order by 1) as "depends_on!",
                j.pause_reason, j.cancel_requested_at, j.pause_requested_at, j.metadata, j.created_at, j.run_at,
                j.started_at, j.finished_at, j.estimate, j.estimate_error, j.warnings,
                j.pace_step, j.pace_at
            from jobs j
            where j.id = $1 and j.project_id = $2"#,
            id.0,
            project.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(Job::try_from).transpose()
    }

    /// Jobs of a project, newest first.
    pub async fn list_jobs(&self, project: ProjectId, filter: &JobFilter) -> Result<Page<Job>, StoreError> {
        let rows = sqlx::query_as!(
            JobRow,
            r#"-- list_jobs
            select j.id, j.project_id, j.kind, j.state, j.spec, j.priority, j.progress_step, j.progress_total, j.progress_at,
                j.result, j.error, j.attempt, j.max_attempts, j.lost_count, j.lease_epoch, j.lease_owner,
                array(select d.depends_on_id from job_dependencies d where d.job_id = j.id order by 1) as "depends_on!",
                j.pause_reason, j.cancel_requested_at, j.pause_requested_at, j.metadata, j.created_at, j.run_at,
                j.started_at, j.finished_at, j.estimate, j.estimate_error, j.warnings,
                j.pace_step, j.pace_at
            from jobs j
            where j.project_id = $1
                and ($2::text is null or j.kind = $2)
                and ($3::text is null or j.state = $3)
                and ($4::uuid is null or j.id < $4)
                and ($6::jsonb is null or j.metadata @> $6)
                and ($6::jsonb is distinct from '{}' or j.metadata = '{}')
            order by j.id desc
            limit $5"#,
            project.0,
            filter.kind.map(JobKind::as_str),
            filter.state.map(JobState::as_str),
            filter.after.map(|id| id.0),
            one_more(filter.limit),
            filter.metadata.as_ref().map(storable::json),
        )
        .fetch_all(&self.pool)
        .await?;
        let jobs = rows.into_iter().map(Job::try_from).collect::<Result<_, _>>()?;
        Ok(Page::cut(jobs, filter.limit))
    }

    /// Where a queued job stands in the line of its kind; `None` when it is not queued.
    pub async fn queue_place(&self, id: JobId) -> Result<Option<QueuePlace>, StoreError> {
        // A job that waits for others or for its time holds up nobody, so the line is made of those that may run now.
        let row = sqlx::query!(
            r#"-- queue_place
            with mine as (
                select id, kind, sort_at from jobs where id = $1 and state = 'queued'
            ), line as (
                select other.id, other.sort_at
                from mine join jobs other on other.state = 'queued' and other.kind = mine.kind
                where other.id <> mine.id
                    and other.run_at <= clock_timestamp()
                    and not exists (
                        select from job_dependencies d join jobs parent on parent.id = d.depends_on_id
                        where d.job_id = other.id and parent.state <> 'succeeded'
                    )
            )
            select (select count(*) from line where (line.sort_at, line.id) < (mine.sort_at, mine.id)) as "ahead!",
                (select count(*) from line) as "others!",
                array(
                    select parent.id
                    from job_dependencies d join jobs parent on parent.id = d.depends_on_id
                    where d.job_id = mine.id and parent.state <> 'succeeded'
                    order by parent.id
                ) as "waits_for!"
            from mine"#,
            id.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| QueuePlace {
            position: row.ahead + 1,
            depth: row.others + 1,
            waits_for: row.waits_for.into_iter().map(JobId).collect(),
        }))
    }

    /// How many jobs there are of each kind in each state, over all projects; pairs without a job are left out.
    pub async fn job_counts(&self) -> Result<Vec<(JobKind, JobState, i64)>, StoreError> {
        let rows = sqlx::query!(
            r#"-- job_counts
            select kind, state, count(*) as "count!" from jobs group by kind, state order by kind, state"#
        )
        .fetch_all(&self.pool)
        .await?;
        let at = Place { table: "jobs", id: &"of all projects" };
        rows.into_iter()
            .map(|row| Ok((at.name("kind", &row.kind)?, at.name("state", &row.state)?, row.count)))
            .collect()
    }
}
