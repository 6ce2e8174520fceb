//! Making a job, with everything that it refers to, in one statement.
//!
//! A parent that is not done yet leaves its files and its model later, and whoever comes second writes the reference:
//! this statement, where it finds them, or the parent's end, where it finds the dependency. A statement sees what was
//! committed before it began; so both lock the parent's row before they begin, and one of them comes second.

use serde_json::{Map, Value};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Store, StoreError, WhichCheckpoint, references, storable};
use crate::domain::{CheckpointId, Estimate, FileId, Job, JobId, JobSpec, JobState, JobWarning, ModelId, ProjectId};

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

/// What a job refers to, each once.
#[derive(Debug, Clone)]
struct Named {
    files: Vec<Uuid>,
    parents: Vec<Uuid>,
    /// Those of the parents whose output file or model it reads.
    makers: Vec<Uuid>,
    models: Vec<Uuid>,
    checkpoints: Vec<Uuid>,
}

impl Named {
    fn by(new: &NewJob) -> Self {
        let mut parents = references::jobs(&new.spec);
        parents.extend(new.depends_on.iter().map(|id| id.0));
        Self {
            files: references::files(&new.spec).into_iter().collect(),
            parents: parents.into_iter().collect(),
            makers: references::makers(&new.spec).into_iter().collect(),
            models: new.models.iter().map(|id| id.0).collect(),
            checkpoints: new.checkpoints.iter().map(|id| id.0).collect(),
        }
    }
}

impl Store {
    /// Queues a job, with its dependencies and references to files and models, or nothing at all.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when a file, job or model that it names is not there, or what a job that it names has made;
    /// [`StoreError::KeyLost`] when another request has taken its idempotency key over.
    pub async fn create_job(&self, new: &NewJob) -> Result<Job, StoreError> {
        let named = Named::by(new);
        // A task of its own, so that a caller who goes away leaves no connection inside a transaction.
        let created = tokio::spawn(create_job(self.pool.clone(), new.clone(), named.clone())).await;
        if !created.map_err(StoreError::Abandoned)?? {
            return Err(self.not_created(new, &named).await?);
        }
        let job = self.job(new.project_id, new.id).await?;
        job.ok_or_else(|| StoreError::Missing { what: "job", id: new.id.to_string() })
    }

    /// The first file, job or model that is not there, or the key that was lost.
    async fn not_created(&self, new: &NewJob, named: &Named) -> Result<StoreError, StoreError> {
        let project = new.project_id;
        for &id in &named.files {
            if self.file(project, FileId(id)).await?.is_none() {
                return Ok(StoreError::Missing { what: "file", id: FileId(id).to_string() });
            }
        }
        for &id in &named.parents {
            if self.job(project, JobId(id)).await?.is_none() {
                return Ok(StoreError::Missing { what: "job", id: JobId(id).to_string() });
            }
        }
        for &id in &named.makers {
            if !self.has_its_outcome(project, JobId(id)).await? {
                return Ok(StoreError::Missing { what: "what was made by", id: JobId(id).to_string() });
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

    /// Whether what a job has made is there, or is yet to come.
    async fn has_its_outcome(&self, project: ProjectId, id: JobId) -> Result<bool, StoreError> {
        let Some(job) = self.job(project, id).await?.filter(|job| job.state == JobState::Succeeded) else {
            return Ok(true);
        };
        Ok(match job.output_file() {
            Some(file) => self.file(project, file).await?.is_some(),
            None => self.model_of_job(project, id).await?.is_some(),
        })
    }
}

/// Whether it was created; if not, something that it names is not there.
async fn create_job(pool: PgPool, new: NewJob, named: Named) -> Result<bool, StoreError> {
    let mut transaction = pool.begin().await?;
    sqlx::query!(
        r#"-- create_job: lock
        select id from jobs where id = any($1) and project_id = $2 order by id for share"#,
        &named.parents,
        new.project_id.0,
    )
    .fetch_all(&mut *transaction)
    .await?;
    // The files and models are locked against their deletion, those of parents that are done as well.
    let created = sqlx::query_scalar!(
        r#"-- create_job
        with named as materialized (
            select id from files
            where id = any($7) and project_id = $2 and deleted_at is null and not file_has_expired(id, expires_at)
            for share
        ), parents as materialized (
            select id, state, result ->> 'output_file' as output_file from jobs where id = any($8) and project_id = $2
        ), outputs as materialized (
            select files.id, 'file-' || replace(files.id::text, '-', '') as name
            from parents join files on files.made_by_job_id = parents.id
            where files.deleted_at is null and not file_has_expired(files.id, files.expires_at)
            for share of files
        ), scored as materialized (
            select id, job_id from models
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
                and not exists (
                    select from parents
                    where id = any($14::uuid[]) and state = 'succeeded'
                        and not exists (select from outputs where outputs.name = parents.output_file)
                        and not exists (select from scored where scored.job_id = parents.id)
                )
        ), keyed as (
            update idempotency_keys set made_id = $1
            from complete
            where holder = $9 and status is null and made_id is null
            returning holder
        ), created as (
            insert into jobs (id, project_id, kind, spec, priority, max_attempts, metadata, estimate, warnings, run_at, sort_at)
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
            select created.id, outputs.id, created.project_id from created, outputs
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
        &named.files,
        &named.parents,
        new.holder,
        new.estimate.as_ref().map(storable::json),
        &named.models,
        &named.checkpoints,
        storable::json(&new.warnings),
        &named.makers,
    )
    .fetch_optional(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(created.is_some())
}
