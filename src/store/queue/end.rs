//! Letting go of a job without a result: fail, release (also for a pause), a pause that the work itself found necessary, an
//! acknowledged cancel.

use crate::{
    domain::{JobError, JobId, JobState, Lease, PauseReason},
    store::{NewEvent, Store, StoreError, rows::job_state, storable},
};

impl Store {
    /// Ends the attempt with an error: back to the queue with backoff where another attempt is allowed and could do
    /// better (paused, where that was asked for), else failed; cancelled where that was asked for. Returns the new state.
    pub async fn fail(&self, lease: Lease, error: &JobError, retryable: bool) -> Result<JobState, StoreError> {
        // The wait doubles with each attempt from 10 s to at most 6 h, times U(0.5, 1.5) so that jobs that failed
        // together do not come back together.
        let state = sqlx::query_scalar!(
            r#"-- fail
            with target as materialized (
                select id, now,
                    case when cancel_requested_at is not null then 'cancelled'
                        when not $4 or attempt >= max_attempts then 'failed'
                        when pause_requested_at is not null then 'paused'
                        else 'queued' end as next,
                    now + least(21600, 10 * power(2, least(attempt - 1, 16))) * (0.5 + random()) * interval '1 second'
                        as retry_at
                from jobs, clock_timestamp() as now
                where id = $1 and lease_epoch = $2 and state = 'running'
                for update of jobs
            ), moved as (
                update jobs j
                set state = next, error = $3, lease_owner = null, lease_expires_at = null, pause_requested_at = null,
                    pause_reason = case when next = 'paused' then 'user' end,
                    run_at = case when next = 'queued' then retry_at else run_at end,
                    sort_at = case when next = 'queued' then retry_at - priority * interval '15 minutes' else sort_at end,
                    finished_at = case when next in ('failed', 'cancelled') then now end
                from target
                where j.id = target.id
                returning j.id, j.project_id, j.state, j.attempt, j.run_at
            ), event as (
                insert into job_events (job_id, project_id, level, code, message, data)
                select id, project_id,
                    case state when 'failed' then 'error' when 'cancelled' then 'info' else 'warn' end,
                    case state when 'queued' then 'retry_scheduled' else state end,
                    case state when 'cancelled' then 'cancelled while it was failing: '
                        when 'paused' then 'paused while it was failing: ' else '' end
                        || ($3::jsonb ->> 'message'),
                    jsonb_build_object('attempt', attempt, 'error', $3::jsonb,
                        'run_at', case when state = 'queued' then run_at end)
                from moved
            )
            select state as "state!" from moved"#,
            lease.job_id.0,
            lease.epoch,
            storable::json(error),
            retryable,
        )
        .fetch_optional(&self.pool)
        .await?;
        state_or_lost(lease, state)
    }

    /// Hands the job back unfinished, because the worker stops or because a pause was asked for: as if the attempt had
    /// not begun. Paused where that is still asked for, cancelled where that is, else back to the queue. Returns the new
    /// state.
    pub async fn release(&self, lease: Lease) -> Result<JobState, StoreError> {
        let state = sqlx::query_scalar!(
            r#"-- release
            with moved as (
                update jobs
                set state = case when cancel_requested_at is not null then 'cancelled'
                        when pause_requested_at is not null then 'paused'
                        else 'queued' end,
                    pause_reason = case when pause_requested_at is not null then 'user' end, pause_requested_at = null,
                    attempt = attempt - 1, lease_owner = null, lease_expires_at = null,
                    finished_at = case when cancel_requested_at is not null then clock_timestamp() end
                where id = $1 and lease_epoch = $2 and state = 'running'
                returning id, project_id, state
            ), event as (
                insert into job_events (job_id, project_id, level, code, message)
                select id, project_id, 'info',
                    case state when 'queued' then 'released' else state end,
                    case state when 'queued' then 'its worker stops; the attempt does not count'
                        when 'paused' then 'its worker has stopped; the attempt does not count'
                        else 'cancelled as its worker stopped' end
                from moved
            )
            select state as "state!" from moved"#,
            lease.job_id.0,
            lease.epoch,
        )
        .fetch_optional(&self.pool)
        .await?;
        state_or_lost(lease, state)
    }

    /// Pauses the job because of what the work has found, as if the attempt had not begun; cancelled where that was asked
    /// for. Whoever resumes a job that is paused for its first rows wants the rest: they are not judged again. Where it is
    /// cancelled instead nobody has said so. Returns the new state.
    pub async fn pause_running(
        &self,
        lease: Lease,
        reason: PauseReason,
        event: &NewEvent,
    ) -> Result<JobState, StoreError> {
        let state = sqlx::query_scalar!(
            r#"-- pause_running
            with moved as (
                update jobs
                set state = case when cancel_requested_at is not null then 'cancelled' else 'paused' end,
                    pause_reason = case when cancel_requested_at is null then $3 end, pause_requested_at = null,
                    attempt = attempt - 1, lease_owner = null, lease_expires_at = null,
                    finished_at = case when cancel_requested_at is not null then clock_timestamp() end
                where id = $1 and lease_epoch = $2 and state = 'running'
                returning id, project_id, state
            ), judged as (
                update annotation_sums s set smoke = 'failed' from moved
                where s.job_id = moved.id and moved.state = 'paused' and $3 = 'smoke'
            ), event as (
                insert into job_events (job_id, project_id, level, code, message, data)
                select id, project_id, $4, state,
                    case state when 'paused' then $5 else 'cancelled as its worker stopped' end,
                    case state when 'paused' then $6::jsonb else '{}'::jsonb end
                from moved
            )
            select state as "state!" from moved"#,
            lease.job_id.0,
            lease.epoch,
            reason.as_str(),
            event.level.as_str(),
            storable::text(&event.message),
            storable::json(&event.data),
        )
        .fetch_optional(&self.pool)
        .await?;
        state_or_lost(lease, state)
    }

    /// Acknowledges a cancel: the work has stopped.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] also when nobody had asked to cancel the job.
    pub async fn cancelled(&self, lease: Lease) -> Result<(), StoreError> {
        let state = sqlx::query_scalar!(
            r#"-- cancelled
            with moved as (
                update jobs
                set state = 'cancelled', finished_at = clock_timestamp(), lease_owner = null, lease_expires_at = null
                where id = $1 and lease_epoch = $2 and state = 'running' and cancel_requested_at is not null
                returning id, project_id, state
            ), event as (
                insert into job_events (job_id, project_id, level, code, message)
                select id, project_id, 'info', 'cancelled', 'its worker has stopped' from moved
            )
            select state as "state!" from moved"#,
            lease.job_id.0,
            lease.epoch,
        )
        .fetch_optional(&self.pool)
        .await?;
        state_or_lost(lease, state).map(drop)
    }

    /// Fails a job whose row this program cannot read, so that it is not claimed and dropped for ever. Returns the error.
    pub(super) async fn give_up_unreadable(&self, lease: Lease, error: StoreError) -> Result<StoreError, StoreError> {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        let said = JobError::new("unreadable_job", format!("{error}{cause}"));
        self.fail(lease, &said.with_hint("submit the job again, or run a newer stepwise"), false).await?;
        Ok(error)
    }
}

/// The state that a fenced statement moved the job to; no row means that somebody else has it.
fn state_or_lost(lease: Lease, state: Option<String>) -> Result<JobState, StoreError> {
    let state = state.ok_or(StoreError::LeaseLost(lease))?;
    job_state(JobId(lease.job_id.0), &state)
}
