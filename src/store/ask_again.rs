//! Asking a teacher again for examples that went wrong: their verdicts go, their answers are set aside in the ledger, where
//! they still count, and the job goes back to the queue. Calls that brought no answer stay: the question is still the same,
//! and a teacher that honors its `Idempotency-Key` may have the answer.

use serde_json::json;

use super::{Retried, Store, StoreError};
use crate::domain::{AnnotationStatus, Job, JobId, JobKind, ProjectId};

impl Store {
    /// Takes the verdicts of these statuses away and queues the job, which is over, with all its attempts before it. Jobs that
    /// depend on it and have not begun wait for its new end; its files stay. First rows that went wrong are judged again.
    /// `None` if there is no such job.
    pub async fn ask_again(
        &self,
        project: ProjectId,
        id: JobId,
        statuses: &[AnnotationStatus],
    ) -> Result<Option<Retried>, StoreError> {
        let names: Vec<String> = statuses.iter().map(|status| status.as_str().to_owned()).collect();
        // The file is locked against `delete_file`, as when a job is created. Chunks are planned anew: which of them are
        // settled holds no longer.
        let moved = sqlx::query_scalar!(
            r#"-- ask_again
            with target as materialized (
                select id, project_id, result
                from jobs
                where id = $1 and project_id = $2 and kind = 'annotation' and state in ('succeeded', 'failed', 'cancelled')
                for update
            ), reads as materialized (
                select f.deleted_at is not null or file_has_expired(f.id, f.expires_at) as gone
                from target join job_files r on r.job_id = target.id join files f on f.id = r.file_id
                for share of f
            ), possible as materialized (
                select target.id, target.project_id, target.result
                from target
                where not exists (select from reads where gone)
                    and not exists (
                        select from job_dependencies d join jobs parent on parent.id = d.depends_on_id
                        where d.job_id = target.id and parent.state in ('failed', 'cancelled')
                    )
                    and not exists (
                        select from job_dependencies d join jobs child on child.id = d.job_id
                        where d.depends_on_id = target.id and child.started_at is not null
                            and child.state in ('queued', 'running', 'paused')
                    )
                    and exists (select from annotations a where a.job_id = target.id and a.status = any($3))
            ), removed as (
                delete from annotations a
                using possible
                where a.job_id = possible.id and a.status = any($3)
                returning a.example_index, a.status
            ), set_aside as (
                update teacher_calls c
                set set_aside_at = clock_timestamp()
                from possible, removed
                where c.job_id = possible.id and c.example_index = removed.example_index and c.set_aside_at is null
                    and c.state in ('answered', 'reused')
            ), unplanned as (
                delete from annotation_chunks k using possible where k.job_id = possible.id
            ), counted as (
                select count(*) as examples, count(*) filter (where status = 'valid') as valid,
                    count(*) filter (where status = 'invalid') as invalid,
                    count(*) filter (where status = 'refused') as refused,
                    count(*) filter (where status = 'truncated') as truncated,
                    count(*) filter (where status = 'failed') as failed
                from removed
            ), summed as (
                update annotation_sums s
                set valid = s.valid - c.valid, invalid = s.invalid - c.invalid, refused = s.refused - c.refused,
                    truncated = s.truncated - c.truncated, failed = s.failed - c.failed, smoke = nullif(s.smoke, 'failed')
                from possible, counted c
                where s.job_id = possible.id
            ), moved as (
                update jobs j
                set state = 'queued', attempt = 0, lost_count = 0, step_at_loss = 0, error = null, finished_at = null,
                    result = null, end_claimed_until = null, estimate_error = null, cancel_requested_at = null,
                    run_at = now, sort_at = now - j.priority * interval '15 minutes',
                    progress_step = case when j.progress_step is not null then greatest(j.progress_step - c.examples, 0) end
                from possible, counted c, clock_timestamp() as now
                where j.id = possible.id
                returning j.id, j.project_id, c.examples, possible.result
            ), event as (
                insert into job_events (job_id, project_id, level, code, message, data)
                select id, project_id, 'info', 'queued',
                    'asks again about ' || examples || ' examples: waits for a worker',
                    jsonb_build_object('only', $4::jsonb, 'examples', examples,
                        'output_file', result -> 'output_file', 'rejections_file', result -> 'rejections_file')
                from moved
            )
            select id from moved"#,
            id.0,
            project.0,
            &names,
            json!(names),
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(job) = self.job(project, id).await? else { return Ok(None) };
        if moved.is_some() {
            return Ok(Some(Retried::Job(Box::new(job))));
        }
        self.why_not_again(&job).await.map(Some)
    }

    async fn why_not_again(&self, job: &Job) -> Result<Retried, StoreError> {
        if job.kind() != JobKind::Annotation {
            return Ok(Retried::NotAnAnnotation(job.kind()));
        }
        if !job.state.is_terminal() {
            return Ok(Retried::NotOver(job.state));
        }
        if let Some(obstacle) = self.obstacle(job.id).await? {
            return Ok(obstacle);
        }
        let reader = sqlx::query_scalar!(
            r#"-- why_not_again
            select child.id
            from job_dependencies d join jobs child on child.id = d.job_id
            where d.depends_on_id = $1 and child.started_at is not null and child.state in ('queued', 'running', 'paused')
            order by child.id
            limit 1"#,
            job.id.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(reader.map_or(Retried::NothingOf, |reader| Retried::OutputRead(JobId(reader))))
    }
}
