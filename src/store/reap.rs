//! What any process does, at any time and as often as it likes, for jobs whose worker is silent and for jobs whose
//! parents came to nothing. Rows change here and nothing is ever carried out: the claim is the only door to a worker.

use super::{Store, StoreError, rows::job_state};
use crate::domain::{JobId, JobState};

impl Store {
    /// Takes at most `limit` jobs from workers that stopped beating, and from those that have left a cancel unanswered
    /// for a minute. Returns each with its new state.
    pub async fn reap(&self, limit: u32) -> Result<Vec<(JobId, JobState)>, StoreError> {
        // The decision is made inside the statement, on the locked row: a job that finishes at the same moment is
        // skipped or no longer running. Where a worker with a live lease ignores a cancel, the epoch moves on.
        let rows = sqlx::query!(
            r#"-- reap
            with silent as materialized (
                select id, now,
                    lease_expires_at >= now as forced,
                    case when cancel_requested_at is not null then 'cancelled'
                        when lost_count + 1 >= 3 or attempt >= max_attempts then 'failed'
                        when pause_requested_at is not null then 'paused'
                        else 'queued' end as next,
                    case when lost_count + 1 >= 3 then jsonb_build_object('code', 'poison',
                            'message', 'three attempts in a row lost their worker without getting further',
                            'hint', 'the job probably kills its worker: look at the worker''s log and memory')
                        else jsonb_build_object('code', 'lease_lost', 'message', 'its worker stopped answering',
                            'hint', null) end as error,
                    now + 10 * power(2, lost_count) * (0.5 + random()) * interval '1 second' as retry_at
                from jobs, clock_timestamp() as now
                where state = 'running'
                    and (lease_expires_at < now or cancel_requested_at < now - interval '60 seconds')
                order by id
                limit $1
                for update of jobs skip locked
            ), moved as (
                update jobs j
                set state = next, lost_count = lost_count + 1, lease_owner = null, lease_expires_at = null,
                    pause_requested_at = null, pause_reason = case when next = 'paused' then 'user' end,
                    step_at_loss = greatest(step_at_loss, progress_step),
                    lease_epoch = lease_epoch + case when forced then 1 else 0 end,
                    error = case when next = 'cancelled' then j.error else silent.error end,
                    run_at = case when next = 'queued' then retry_at else run_at end,
                    sort_at = case when next = 'queued' then retry_at - priority * interval '15 minutes' else sort_at end,
                    finished_at = case when next in ('failed', 'cancelled') then now end
                from silent
                where j.id = silent.id
                returning j.id, j.project_id, j.state, j.attempt, j.run_at, silent.error
            ), event as (
                insert into job_events (job_id, project_id, level, code, message, data)
                select id, project_id,
                    case state when 'failed' then 'error' when 'cancelled' then 'info' else 'warn' end,
                    case state when 'queued' then 'lease_lost' else state end,
                    case state when 'cancelled' then 'cancelled without an answer from its worker'
                        when 'paused' then 'paused without an answer from its worker'
                        else error ->> 'message' end,
                    jsonb_build_object('attempt', attempt, 'error', error,
                        'run_at', case when state = 'queued' then run_at end)
                from moved
            )
            select id as "id!", state as "state!" from moved"#,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let moved = rows.into_iter().map(|row| (JobId(row.id), row.state));
        moved.map(|(id, state)| Ok((id, job_state(id, &state)?))).collect()
    }

    /// Fails waiting jobs that depend on a failed or cancelled one, and those that depend on them in turn.
    pub async fn fail_orphans(&self) -> Result<Vec<JobId>, StoreError> {
        let mut failed = Vec::new();
        loop {
            let next = self.fail_one_generation().await?;
            if next.is_empty() {
                return Ok(failed);
            }
            failed.extend(next);
        }
    }

    async fn fail_one_generation(&self) -> Result<Vec<JobId>, StoreError> {
        let ids = sqlx::query_scalar!(
            r#"-- fail_one_generation
            with orphans as materialized (
                select j.id
                from jobs j
                where j.state in ('queued', 'paused')
                    and exists (
                        select from job_dependencies d join jobs parent on parent.id = d.depends_on_id
                        where d.job_id = j.id and parent.state in ('failed', 'cancelled')
                    )
                order by j.id
                limit 100
                for update of j skip locked
            ), reasons as (
                select distinct on (d.job_id) d.job_id,
                    'job-' || replace(parent.id::text, '-', '') || ', which it depends on, '
                        || case parent.state when 'failed' then 'failed' else 'was cancelled' end as message
                from orphans
                join job_dependencies d on d.job_id = orphans.id
                join jobs parent on parent.id = d.depends_on_id
                where parent.state in ('failed', 'cancelled')
                order by d.job_id, parent.id
            ), moved as (
                update jobs j
                set state = 'failed', finished_at = clock_timestamp(), pause_reason = null,
                    error = jsonb_build_object('code', 'dependency_failed', 'message', reasons.message, 'hint', null)
                from reasons
                where j.id = reasons.job_id
                returning j.id, j.project_id, reasons.message
            ), event as (
                insert into job_events (job_id, project_id, level, code, message, data)
                select id, project_id, 'error', 'failed', message, jsonb_build_object('code', 'dependency_failed')
                from moved
            )
            select id as "id!" from moved"#
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(ids.into_iter().map(JobId).collect())
    }
}
