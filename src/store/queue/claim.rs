//! Taking a job and holding it: claim, beat, progress.

use uuid::Uuid;

use crate::{
    domain::{Job, JobId, JobKind, Lease, LeaseTerms, Progress, WorkerId},
    store::{Store, StoreError, interval, rows::JobRow},
};

/// A renewed lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Which lease.
    pub lease: Lease,
    /// What somebody asked of the job while it was running.
    pub requested: Option<Request>,
}

/// What a worker is asked to do with a job that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Stop for good.
    Cancel,
    /// Keep what is done, and stop.
    Pause,
}

impl Request {
    /// The weightier of what was asked.
    pub(in crate::store) fn of(cancel: bool, pause: bool) -> Option<Self> {
        match (cancel, pause) {
            (true, _) => Some(Self::Cancel),
            (false, true) => Some(Self::Pause),
            (false, false) => None,
        }
    }
}

impl Store {
    /// Takes the next job of these kinds that may run now.
    pub async fn claim(
        &self,
        worker: WorkerId,
        kinds: &[JobKind],
        terms: &LeaseTerms,
    ) -> Result<Option<(Job, Lease)>, StoreError> {
        let kinds: Vec<String> = kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
        // Materialized, because the planner may run a plain subquery several times and so take more rows than one.
        let row = sqlx::query_as!(
            JobRow,
            r#"-- claim
            with next as materialized (
                select q.id, q.project_id, q.attempt + 1 as attempt
                from jobs q
                where q.state = 'queued' and q.kind = any($2) and q.run_at <= clock_timestamp()
                    and not exists (
                        select from job_dependencies d join jobs parent on parent.id = d.depends_on_id
                        where d.job_id = q.id and parent.state <> 'succeeded'
                    )
                order by q.sort_at, q.id
                limit 1
                for update of q skip locked
            ), event as (
                insert into job_events (job_id, project_id, level, code, message, data)
                select id, project_id, 'info', 'started', 'attempt ' || attempt || ' begins',
                    jsonb_build_object('attempt', attempt, 'worker', $4::text)
                from next
            )
            update jobs j
            set state = 'running', attempt = j.attempt + 1, lease_epoch = j.lease_epoch + 1, lease_owner = $1,
                lease_expires_at = clock_timestamp() + $3::interval,
                started_at = coalesce(j.started_at, clock_timestamp()),
                pace_step = coalesce(j.progress_step, 0), pace_at = clock_timestamp()
            from next
            where j.id = next.id
            returning j.id, j.project_id, j.kind, j.state, j.spec, j.priority, j.progress_step, j.progress_total, j.progress_at,
                j.result, j.error, j.attempt, j.max_attempts, j.lost_count, j.lease_epoch, j.lease_owner,
                array(select d.depends_on_id from job_dependencies d where d.job_id = j.id order by 1) as "depends_on!",
                j.pause_reason, j.cancel_requested_at, j.pause_requested_at, j.metadata, j.created_at, j.run_at,
                j.started_at, j.finished_at, j.estimate, j.estimate_error, j.warnings,
                j.pace_step, j.pace_at"#,
            worker.0,
            &kinds,
            interval(terms.duration),
            worker.to_string(),
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let lease = Lease { job_id: JobId(row.id), epoch: row.lease_epoch };
        match Job::try_from(row) {
            Ok(job) => Ok(Some((job, lease))),
            Err(error) => Err(self.give_up_unreadable(lease, error).await?),
        }
    }

    /// Renews leases. One that is missing from the answer is lost.
    pub async fn beat(&self, leases: &[Lease], terms: &LeaseTerms) -> Result<Vec<Beat>, StoreError> {
        let (ids, epochs): (Vec<Uuid>, Vec<i64>) = leases.iter().map(|lease| (lease.job_id.0, lease.epoch)).unzip();
        let rows = sqlx::query!(
            r#"-- beat
            update jobs j
            set lease_expires_at = clock_timestamp() + $3::interval
            from unnest($1::uuid[], $2::bigint[]) as held (id, epoch)
            where j.id = held.id and j.lease_epoch = held.epoch and j.state = 'running'
            returning j.id, j.lease_epoch, j.cancel_requested_at is not null as "cancel_requested!",
                j.pause_requested_at is not null as "pause_requested!""#,
            &ids,
            &epochs,
            interval(terms.duration),
        )
        .fetch_all(&self.pool)
        .await?;
        let beats = rows.into_iter().map(|row| Beat {
            lease: Lease { job_id: JobId(row.id), epoch: row.lease_epoch },
            requested: Request::of(row.cancel_requested, row.pause_requested),
        });
        Ok(beats.collect())
    }

    /// Says how far the job is. Beyond what any lost attempt had reached, earlier losses are forgiven.
    pub async fn progress(&self, lease: Lease, progress: Progress) -> Result<(), StoreError> {
        let done = sqlx::query!(
            r#"-- progress
            update jobs
            set progress_step = $3, progress_total = $4, progress_at = clock_timestamp(), pace_step = least(pace_step, $3),
                lost_count = case when $3 > step_at_loss then 0 else lost_count end
            where id = $1 and lease_epoch = $2 and state = 'running'"#,
            lease.job_id.0,
            lease.epoch,
            progress.step,
            progress.total,
        )
        .execute(&self.pool)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::LeaseLost(lease)) }
    }
}
