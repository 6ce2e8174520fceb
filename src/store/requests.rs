//! What people ask of a job that is there: cancel, pause, resume, retry. Each is one statement that changes the job only
//! where that makes sense, writes its event, and returns the job as it stands then: asking twice does no harm.

use super::{Store, StoreError, rows::job_state, storable};
use crate::domain::{Budget, CheckpointId, FileId, Job, JobId, JobKind, JobState, ModelId, ProjectId};

/// What became of a retry.
#[derive(Debug, Clone, PartialEq)]
pub enum Retried {
    /// The job as it stands now.
    Job(Box<Job>),
    /// It stays as it is: a file that it reads was deleted, or its time is over.
    FileDeleted(FileId),
    /// It stays as it is: the model or checkpoint of this id, which it trains from or scores, was deleted.
    ModelDeleted(String),
    /// It stays as it is: a job that it depends on has failed or was cancelled.
    ParentOver(JobId, JobState),
    /// It stays as it is: it asks no teacher again, because it never asked one.
    NotAnAnnotation(JobKind),
    /// It stays as it is: only what is over can be asked about again.
    NotOver(JobState),
    /// It stays as it is: there is nothing of the kind that was to be asked about again.
    NothingOf,
    /// It stays as it is: this job, which is not over, has begun to read its output.
    OutputRead(JobId),
}

/// What became of a resume.
#[derive(Debug, Clone, PartialEq)]
pub enum Resumed {
    /// The job as it stands now.
    Job(Box<Job>),
    /// It stays as it is, and keeps its budget: it is not paused, or no longer.
    NotPaused(JobState),
}

impl Store {
    /// Cancels a waiting job at once and asks the worker of a running one to stop; a terminal job stays as it is.
    /// Returns the job as it stands then, `None` if there is none. A cancel withdraws a request to pause.
    pub async fn cancel_job(&self, project: ProjectId, id: JobId) -> Result<Option<Job>, StoreError> {
        sqlx::query!(
            r#"-- cancel_job
            with target as materialized (
                select id, project_id, state <> 'running' as at_once
                from jobs
                where id = $1 and project_id = $2
                    and (state in ('queued', 'paused') or (state = 'running' and cancel_requested_at is null))
                for update
            ), moved as (
                update jobs j
                set cancel_requested_at = now,
                    state = case when at_once then 'cancelled' else 'running' end,
                    finished_at = case when at_once then now end,
                    pause_reason = null, pause_requested_at = null
                from target, clock_timestamp() as now
                where j.id = target.id
                returning j.id, j.project_id, target.at_once
            )
            insert into job_events (job_id, project_id, level, code, message)
            select id, project_id, 'info',
                case when at_once then 'cancelled' else 'cancel_requested' end,
                case when at_once then 'cancelled before a worker had it' else 'its worker is asked to stop' end
            from moved"#,
            id.0,
            project.0,
        )
        .execute(&self.pool)
        .await?;
        self.job(project, id).await
    }

    /// Pauses a queued job at once and asks the worker of a running one to stop and keep what was done; every other job
    /// stays as it is, also one that is being cancelled. Returns the job as it stands then, `None` if there is none.
    pub async fn pause_job(&self, project: ProjectId, id: JobId) -> Result<Option<Job>, StoreError> {
        sqlx::query!(
            r#"-- pause_job
            with target as materialized (
                select id, project_id, state <> 'running' as at_once
                from jobs
                where id = $1 and project_id = $2
                    and (state = 'queued'
                        or (state = 'running' and pause_requested_at is null and cancel_requested_at is null))
                for update
            ), moved as (
                update jobs j
                set state = case when at_once then 'paused' else 'running' end,
                    pause_reason = case when at_once then 'user' end,
                    pause_requested_at = case when at_once then null else clock_timestamp() end
                from target
                where j.id = target.id
                returning j.id, j.project_id, target.at_once
            )
            insert into job_events (job_id, project_id, level, code, message)
            select id, project_id, 'info',
                case when at_once then 'paused' else 'pause_requested' end,
                case when at_once then 'waits until it is resumed' else 'its worker is asked to keep what is done and stop' end
            from moved"#,
            id.0,
            project.0,
        )
        .execute(&self.pool)
        .await?;
        self.job(project, id).await
    }

    /// Puts a paused job back into the queue, at the place it had, and withdraws a request to pause a running one; every
    /// other job stays as it is. A budget takes the place of the one that a paused annotation has; with one, every job that
    /// is not paused stays as it is. `None` if there is no such job.
    pub async fn resume_job(
        &self,
        project: ProjectId,
        id: JobId,
        budget: Option<&Budget>,
    ) -> Result<Option<Resumed>, StoreError> {
        let moved = sqlx::query_scalar!(
            r#"-- resume_job
            with target as materialized (
                select id, project_id, state = 'paused' as was_paused
                from jobs
                where id = $1 and project_id = $2
                    and (state = 'paused' or ($3::jsonb is null and state = 'running' and pause_requested_at is not null))
                for update
            ), moved as (
                update jobs j
                set state = case when was_paused then 'queued' else 'running' end,
                    pause_reason = null, pause_requested_at = null,
                    spec = case when was_paused and kind = 'annotation' and $3::jsonb is not null
                        then jsonb_set(spec, '{budget}', $3::jsonb) else spec end,
                    run_at = case when was_paused then least(run_at, clock_timestamp()) else run_at end
                from target
                where j.id = target.id
                returning j.id, j.project_id, target.was_paused
            )
            insert into job_events (job_id, project_id, level, code, message, data)
            select id, project_id, 'info',
                case when was_paused then 'queued' else 'pause_withdrawn' end,
                case when was_paused then 'resumed: waits for a worker' else 'its worker need not stop any more' end,
                case when was_paused and $3::jsonb is not null then jsonb_build_object('budget', $3::jsonb) else '{}' end
            from moved
            returning job_id"#,
            id.0,
            project.0,
            budget.map(storable::json),
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(job) = self.job(project, id).await? else { return Ok(None) };
        let dropped = budget.is_some() && moved.is_none();
        Ok(Some(if dropped { Resumed::NotPaused(job.state) } else { Resumed::Job(Box::new(job)) }))
    }

    /// Queues a failed or cancelled job anew, with all its attempts before it; settled answers and the newest snapshot
    /// are kept, and first rows that went wrong are judged again. Every other job stays as it is. `None` if there is no
    /// such job.
    pub async fn retry_job(&self, project: ProjectId, id: JobId) -> Result<Option<Retried>, StoreError> {
        // The files are locked against `delete_file`, as when a job is created. Chunks that were planned when somebody wanted
        // the rest all the same go: other workers would ask about them before the first rows are judged again.
        sqlx::query!(
            r#"-- retry_job
            with target as materialized (
                select id, project_id
                from jobs
                where id = $1 and project_id = $2 and state in ('failed', 'cancelled')
                for update
            ), reads as materialized (
                select f.deleted_at is not null or file_has_expired(f.id, f.expires_at) as gone
                from target join job_files r on r.job_id = target.id join files f on f.id = r.file_id
                for share of f
            ), models_used as materialized (
                select m.deleted_at
                from target join job_models u on u.job_id = target.id join models m on m.id = u.model_id
                for share of m
            ), checkpoints_used as materialized (
                select c.deleted_at
                from target join job_checkpoints u on u.job_id = target.id join checkpoints c on c.id = u.checkpoint_id
                for share of c
            ), moved as (
                update jobs j
                set state = 'queued', attempt = 0, lost_count = 0, step_at_loss = 0, error = null, finished_at = null,
                    cancel_requested_at = null, result = null, end_claimed_until = null, run_at = now, sort_at = now - j.priority * interval '15 minutes'
                from target, clock_timestamp() as now
                where j.id = target.id
                    and not exists (select from reads where gone)
                    and not exists (select from models_used where deleted_at is not null)
                    and not exists (select from checkpoints_used where deleted_at is not null)
                    and not exists (
                        select from job_dependencies d join jobs parent on parent.id = d.depends_on_id
                        where d.job_id = target.id and parent.state in ('failed', 'cancelled')
                    )
                returning j.id, j.project_id
            ), unjudged as (
                update annotation_sums s set smoke = null from moved where s.job_id = moved.id and s.smoke = 'failed'
                returning s.job_id
            ), unplanned as (
                delete from annotation_chunks c using unjudged where c.job_id = unjudged.job_id
            )
            insert into job_events (job_id, project_id, level, code, message)
            select id, project_id, 'info', 'queued', 'tried again: waits for a worker' from moved"#,
            id.0,
            project.0,
        )
        .execute(&self.pool)
        .await?;
        let Some(job) = self.job(project, id).await? else { return Ok(None) };
        let obstacle = match job.state {
            JobState::Failed | JobState::Cancelled => self.obstacle(id).await?,
            _ => None,
        };
        Ok(Some(obstacle.unwrap_or_else(|| Retried::Job(Box::new(job)))))
    }

    /// What a job needs and cannot have.
    pub(super) async fn obstacle(&self, id: JobId) -> Result<Option<Retried>, StoreError> {
        let file = sqlx::query_scalar!(
            r#"-- obstacle: files
            select f.id
            from job_files r join files f on f.id = r.file_id
            where r.job_id = $1 and (f.deleted_at is not null or file_has_expired(f.id, f.expires_at))
            order by f.id
            limit 1"#,
            id.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        if let Some(file) = file {
            return Ok(Some(Retried::FileDeleted(FileId(file))));
        }
        let model = sqlx::query!(
            r#"-- obstacle: models
            select m.id as "id!", true as "is_model!"
            from job_models u join models m on m.id = u.model_id
            where u.job_id = $1 and m.deleted_at is not null
            union all
            select c.id, false
            from job_checkpoints u join checkpoints c on c.id = u.checkpoint_id
            where u.job_id = $1 and c.deleted_at is not null
            order by 1
            limit 1"#,
            id.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        if let Some(model) = model {
            let id = if model.is_model { ModelId(model.id).to_string() } else { CheckpointId(model.id).to_string() };
            return Ok(Some(Retried::ModelDeleted(id)));
        }
        let parent = sqlx::query!(
            r#"-- obstacle: jobs
            select parent.id, parent.state
            from job_dependencies d join jobs parent on parent.id = d.depends_on_id
            where d.job_id = $1 and parent.state in ('failed', 'cancelled')
            order by parent.id
            limit 1"#,
            id.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        let over = |id, state: &str| Ok(Retried::ParentOver(JobId(id), job_state(JobId(id), state)?));
        parent.map(|parent| over(parent.id, &parent.state)).transpose()
    }
}
