//! Submitting and reading jobs. What people ask of them later is in `requests`, what workers do in `queue`.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    Page, Store, StoreError, WhichCheckpoint, one_more, references,
    rows::{JobRow, Place},
    storable,
};
use crate::domain::{
    CheckpointId, Estimate, FileId, Job, JobId, JobKind, JobSpec, JobState, JobWarning, ModelId, ProjectId,
};

/// A job to submit.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Its id, from the clock.
    pub id: JobId,
    /// Who owns it.
    pub project_id: ProjectId,
    /// What to do, with every default filled in.
    pub spec: JobSpec,
    /// Higher runs sooner; one point is worth 15 minutes of waiting.
    pub priority: i32,
    /// Attempts allowed, at least 1.
    pub max_attempts: i32,
    /// Jobs that must succeed first. Those that the spec itself names are added.
    pub depends_on: Vec<JobId>,
    /// Registered models that it trains from or scores: they cannot be deleted before it is over.
    pub models: Vec<ModelId>,
    /// Checkpoints that it trains from or scores: they cannot be removed before it is over.
    pub checkpoints: Vec<CheckpointId>,
    /// The user's own labels.
    pub metadata: Map<String, Value>,
    /// What it will probably take.
    pub estimate: Option<Estimate>,
    /// The hold on an idempotency key under which it is made; without the hold, it is not.
    pub holder: Option<Uuid>,
    /// What the user should know; each becomes an event too.
    pub warnings: Vec<JobWarning>,
}

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
    /// Queues a job, with its dependencies and references to files and models, or nothing at all.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when a file, job or model that it names is not there; [`StoreError::KeyLost`] when another request
    /// has taken its idempotency key over.
    pub async fn create_job(&self, new: &NewJob) -> Result<Job, StoreError> {
        let files: Vec<Uuid> = references::files(&new.spec).into_iter().collect();
        let mut parents = references::jobs(&new.spec);
        parents.extend(new.depends_on.iter().map(|id| id.0));
        let parents: Vec<Uuid> = parents.into_iter().collect();
        let models: Vec<Uuid> = new.models.iter().map(|id| id.0).collect();
        let checkpoints: Vec<Uuid> = new.checkpoints.iter().map(|id| id.0).collect();
        // The files are locked against `delete_file`. The files that a parent has already written are read too;
        // `finish_with_files` adds those of a parent that is not done yet. Likewise the models, with `delete_model` and
        // `finish_distillation`.
        let created = sqlx::query_scalar!(
            r#"-- create_job
            with named as materialized (
                select id from files
                where id = any($7) and project_id = $2 and deleted_at is null and not file_has_expired(id, expires_at)
                for share
            ), parents as (
                select id from jobs where id = any($8) and project_id = $2
            ), scored as materialized (
                select id from models
                where (id = any($11) or job_id in (select id from parents)) and project_id = $2 and deleted_at is null
                for share
            ), early as materialized (
                select id from checkpoints where id = any($12) and project_id = $2 and deleted_at is null for share
            ), complete as (
                select true as complete
                where (select count(*) from named) = cardinality($7::uuid[])
                    and (select count(*) from parents) = cardinality($8::uuid[])
                    and (select count(*) from scored where id = any($11)) = cardinality($11::uuid[])
                    and (select count(*) from early) = cardinality($12::uuid[])
            ), keyed as (
                update idempotency_keys set made_id = $1
                from complete
                where holder = $9 and status is null and made_id is null
                returning holder
            ), created as (
                insert into jobs (id, project_id, kind, spec, priority, max_attempts, metadata, estimate, warnings, run_at,
                    sort_at)
                select $1, $2, $4::jsonb ->> 'kind', $4, $3::integer, $5, $6, $10, $13, now,
                    now - $3::integer * interval '15 minutes'
                from complete, clock_timestamp() as now
                where $9::uuid is null or exists (select from keyed)
                returning id, project_id
            ), dependencies as (
                insert into job_dependencies (job_id, depends_on_id, project_id)
                select created.id, parents.id, created.project_id from created, parents
            ), reads as (
                insert into job_files (job_id, file_id, project_id)
                select created.id, named.id, created.project_id from created, named
                union
                select created.id, files.id, created.project_id
                from created, parents join files on files.made_by_job_id = parents.id
            ), uses as (
                insert into job_models (job_id, model_id, project_id)
                select created.id, scored.id, created.project_id from created, scored
            ), early_uses as (
                insert into job_checkpoints (job_id, checkpoint_id, project_id)
                select created.id, early.id, created.project_id from created, early
            ), event as (
                insert into job_events (job_id, project_id, level, code, message, data)
                select id, project_id, 'info', 'queued', 'waits for a worker', '{}' from created
                union all
                select id, project_id, 'warn', warning ->> 'code', warning ->> 'message', warning -> 'data'
                from created, jsonb_array_elements($13::jsonb) as warning
            )
            select id as "id!" from created"#,
            new.id.0,
            new.project_id.0,
            new.priority,
            storable::json(&new.spec),
            new.max_attempts,
            storable::json(&new.metadata),
            &files,
            &parents,
            new.holder,
            new.estimate.as_ref().map(storable::json),
            &models,
            &checkpoints,
            storable::json(&new.warnings),
        )
        .fetch_optional(&self.pool)
        .await?;
        if created.is_none() {
            return Err(self.not_created(new, &files, &parents).await?);
        }
        let job = self.job(new.project_id, new.id).await?;
        job.ok_or_else(|| StoreError::Missing { what: "job", id: new.id.to_string() })
    }

    /// The first file, job or model that is not there, or the key that was lost.
    async fn not_created(&self, new: &NewJob, files: &[Uuid], parents: &[Uuid]) -> Result<StoreError, StoreError> {
        let project = new.project_id;
        for &id in files {
            if self.file(project, FileId(id)).await?.is_none() {
                return Ok(StoreError::Missing { what: "file", id: FileId(id).to_string() });
            }
        }
        for &id in parents {
            if self.job(project, JobId(id)).await?.is_none() {
                return Ok(StoreError::Missing { what: "job", id: JobId(id).to_string() });
            }
        }
        for &id in &new.models {
            if self.model(project, &id.to_string()).await?.is_none() {
                return Ok(StoreError::Missing { what: "model", id: id.to_string() });
            }
        }
        for &id in &new.checkpoints {
            if self.checkpoint(project, WhichCheckpoint::Id(id)).await?.is_none() {
                return Ok(StoreError::Missing { what: "checkpoint", id: id.to_string() });
            }
        }
        if new.holder.is_some() {
            return Ok(StoreError::KeyLost);
        }
        Ok(StoreError::Missing { what: "project", id: project.to_string() })
    }

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
