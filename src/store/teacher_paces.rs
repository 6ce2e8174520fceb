//! The rows by which workers keep a teacher's pace together. What becomes of them is decided by the caller, between
//! reading and writing, under the lock of the teacher's row.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Store, StoreError};
use crate::domain::{PaceShare, TeacherPace, WorkerId};

/// Who writes down a pace, and for how long that counts.
#[derive(Debug, Clone)]
pub struct PaceKeeper {
    /// The teacher's name.
    pub teacher: String,
    /// The worker whose share it is.
    pub worker: WorkerId,
    /// A share that is not renewed for so long is another's to take.
    pub keeps_for: Duration,
}

impl Store {
    /// Reads a teacher's pace and the shares of all other living workers, lets `decide` change the pace, and writes it
    /// with the worker's own share; without one the worker has none any more. `decide` gets this server's time.
    pub async fn exchange_pace<T: Send + 'static>(
        &self,
        keeper: PaceKeeper,
        decide: impl FnOnce(&mut TeacherPace, &[PaceShare], DateTime<Utc>) -> (Option<PaceShare>, T) + Send + 'static,
    ) -> Result<T, StoreError> {
        // A task of its own, so that a caller who goes away leaves no connection inside a transaction.
        tokio::spawn(exchange(self.pool.clone(), keeper, decide)).await.map_err(StoreError::Abandoned)?
    }
}

async fn exchange<T>(
    pool: PgPool,
    keeper: PaceKeeper,
    decide: impl FnOnce(&mut TeacherPace, &[PaceShare], DateTime<Utc>) -> (Option<PaceShare>, T),
) -> Result<T, StoreError> {
    let mut transaction = pool.begin().await?;
    let mut pace = locked(&mut transaction, &keeper.teacher).await?;
    let (now, others) = others(&mut transaction, &keeper).await?;
    let (share, decided) = decide(&mut pace, &others, now);
    write(&mut transaction, &keeper.teacher, &pace).await?;
    match share {
        Some(share) => renew(&mut transaction, &keeper, share).await?,
        None => leave(&mut transaction, &keeper).await?,
    }
    transaction.commit().await?;
    Ok(decided)
}

/// The teacher's row, which this transaction now holds.
async fn locked(connection: &mut PgConnection, teacher: &str) -> Result<TeacherPace, StoreError> {
    // Whoever loses the last moments of a pace in a crash of the server soon learns them again: not worth an fsync a few
    // times a second.
    let row = sqlx::query_as!(
        TeacherPace,
        r#"-- exchange_pace: lock
        with hasty as materialized (select set_config('synchronous_commit', 'off', true) as setting)
        insert into teacher_paces as p (project_id, teacher, threshold, pushed_back, outages)
        select $1, $2, 0, 0, 0 from hasty
        on conflict (project_id, teacher) do update set outages = p.outages
        returning "window", threshold, narrowed_at, pushed_back, outages, blocked_until, next_request_at, next_token_at,
            tokens_a_call"#,
        Store::default_project().0,
        teacher,
    )
    .fetch_one(connection)
    .await?;
    Ok(row)
}

/// The time, now that the row is held, and the shares of the others that are alive.
async fn others(
    connection: &mut PgConnection,
    keeper: &PaceKeeper,
) -> Result<(DateTime<Utc>, Vec<PaceShare>), StoreError> {
    let rows = sqlx::query!(
        r#"-- exchange_pace: others
        select now as "now!", s.worker as "worker?", s.permits as "permits?", s.wanted as "wanted?"
        from clock_timestamp() as now
        left join teacher_shares s
            on s.project_id = $1 and s.teacher = $2 and s.worker <> $3 and s.expires_at > now
        order by s.worker"#,
        Store::default_project().0,
        keeper.teacher,
        keeper.worker.0,
    )
    .fetch_all(connection)
    .await?;
    let now = rows.first().map(|row| row.now).ok_or(sqlx::Error::RowNotFound)?;
    let share = |worker: Uuid, permits: i64, wanted: i64| PaceShare {
        worker: WorkerId(worker),
        permits: u32::try_from(permits).unwrap_or(u32::MAX),
        wanted: u32::try_from(wanted).unwrap_or(u32::MAX),
    };
    Ok((now, rows.iter().filter_map(|row| Some(share(row.worker?, row.permits?, row.wanted?))).collect()))
}

async fn write(connection: &mut PgConnection, teacher: &str, pace: &TeacherPace) -> Result<(), StoreError> {
    sqlx::query!(
        r#"-- exchange_pace: write
        update teacher_paces
        set "window" = $3, threshold = $4, narrowed_at = $5, pushed_back = $6, outages = $7, blocked_until = $8,
            next_request_at = $9, next_token_at = $10, tokens_a_call = $11
        where project_id = $1 and teacher = $2"#,
        Store::default_project().0,
        teacher,
        pace.window,
        pace.threshold,
        pace.narrowed_at,
        pace.pushed_back,
        pace.outages,
        pace.blocked_until,
        pace.next_request_at,
        pace.next_token_at,
        pace.tokens_a_call,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn renew(connection: &mut PgConnection, keeper: &PaceKeeper, share: PaceShare) -> Result<(), StoreError> {
    sqlx::query!(
        r#"-- exchange_pace: renew
        insert into teacher_shares (project_id, teacher, worker, permits, wanted, expires_at)
        values ($1, $2, $3, $4, $5, clock_timestamp() + $6 * interval '1 second')
        on conflict (project_id, teacher, worker)
        do update set permits = excluded.permits, wanted = excluded.wanted, expires_at = excluded.expires_at"#,
        Store::default_project().0,
        keeper.teacher,
        share.worker.0,
        i64::from(share.permits),
        i64::from(share.wanted),
        keeper.keeps_for.as_secs_f64(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes the worker's share, and with it those of the dead.
async fn leave(connection: &mut PgConnection, keeper: &PaceKeeper) -> Result<(), StoreError> {
    sqlx::query!(
        r#"-- exchange_pace: leave
        delete from teacher_shares
        where project_id = $1 and teacher = $2 and (worker = $3 or expires_at <= clock_timestamp())"#,
        Store::default_project().0,
        keeper.teacher,
        keeper.worker.0,
    )
    .execute(connection)
    .await?;
    Ok(())
}
