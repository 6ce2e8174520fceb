//! Brings the schema up to date without standing in anybody's way.
//!
//! A migration that changes a table waits for everybody who reads it, and whoever comes after queues behind the migration: one long
//! reader, such as a backup, would stop the service. So no lock is waited for longer than a moment. Then the migration is taken
//! back, the others go on, and it is tried again after a pause; a migration is one transaction, and each that went through stays.
//! After some tries it is given up, with the names of those who held the lock. Another process that migrates is
//! no such holder: it is waited for as long as it takes.

use std::{fmt, time::Duration};

use sqlx::{Connection, PgConnection, migrate::MigrateError};
use tokio::time::{interval, sleep};

use super::{Store, StoreError};

/// How long and how often a migration tries to get its locks.
#[derive(Debug, Clone, Copy)]
pub struct MigrationPatience {
    /// How long others may have to queue behind it, for each lock.
    pub lock_timeout: Duration,
    /// After so many tries it is given up.
    pub tries: u32,
    /// Between the first two tries; then twice as long each time.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for MigrationPatience {
    /// About two minutes.
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_secs(1),
            tries: 15,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(10),
        }
    }
}

/// Somebody whose lock is in the way.
struct Holder {
    pid: i32,
    user: String,
    application: String,
    state: String,
    seconds: Option<i64>,
}

/// What became of one try.
enum Tried {
    Migrated,
    /// Another process holds the lock that only one migrator has.
    AnotherMigrates(Vec<Holder>),
    /// A table was in use.
    Locked(Vec<Holder>, MigrateError),
}

impl Store {
    /// Brings the schema up to date; several processes may do it at once.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when tables stay in use, [`StoreError::Migration`] when a migration cannot be applied.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.migrate_with(MigrationPatience::default()).await
    }

    /// The same with another patience.
    ///
    /// # Errors
    /// Those of [`Store::migrate`].
    pub async fn migrate_with(&self, patience: MigrationPatience) -> Result<(), StoreError> {
        let (mut tries, mut pause, mut seen) = (0, patience.first_pause, Vec::new());
        loop {
            match self.try_to_migrate(patience.lock_timeout).await? {
                Tried::Migrated => return Ok(()),
                Tried::AnotherMigrates(by) => {
                    tracing::info!(by = %named(&by), "waiting for another process that migrates");
                    sleep(patience.first_pause).await;
                }
                Tried::Locked(by, source) => {
                    tries += 1;
                    if !by.is_empty() {
                        seen = by;
                    }
                    if tries >= patience.tries {
                        return Err(StoreError::Locked { tries, by: named(&seen), source });
                    }
                    tracing::warn!(by = %named(&seen), "tables are in use; migrating again in {pause:?}");
                    sleep(pause).await;
                    pause = (pause * 2).min(patience.longest_pause);
                }
            }
        }
    }

    /// On a connection of its own, which ends with the try: what a failed migrator holds is free again, and no other statement
    /// inherits the timeout.
    async fn try_to_migrate(&self, lock_timeout: Duration) -> Result<Tried, StoreError> {
        let mut connection = self.pool.acquire().await?.detach();
        let pid = sqlx::query!(
            r#"-- begin_to_migrate
            select pg_backend_pid() as "pid!", set_config('lock_timeout', $1, false) as "set!""#,
            lock_timeout.as_millis().to_string(),
        )
        .fetch_one(&mut connection)
        .await?
        .pid;
        let (migrated, by) = {
            let migrating = run(&mut connection);
            tokio::pin!(migrating);
            let (mut look, mut by) = (interval((lock_timeout / 4).max(Duration::from_millis(10))), Vec::new());
            loop {
                tokio::select! {
                    migrated = &mut migrating => break (migrated, by),
                    _ = look.tick() => {
                        // Who is in the way is told where it is known; not to know it does no harm.
                        by = self.holders(pid).await.ok().filter(|seen| !seen.is_empty()).unwrap_or(by);
                    }
                }
            }
        };
        // The server ends the session all the same when it finds the client gone.
        drop(connection.close().await);
        match migrated {
            Ok(()) => Ok(Tried::Migrated),
            Err(MigrateError::Execute(error)) if gave_up(&error) => Ok(Tried::AnotherMigrates(by)),
            Err(MigrateError::ExecuteMigration(error, version)) if gave_up(&error) => {
                Ok(Tried::Locked(by, MigrateError::ExecuteMigration(error, version)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Who holds what this session of the server waits for.
    async fn holders(&self, pid: i32) -> Result<Vec<Holder>, StoreError> {
        Ok(sqlx::query_as!(
            Holder,
            r#"-- holders
            select b.pid as "pid!", coalesce(a.usename::text, '') as "user!", coalesce(a.application_name, '') as "application!",
                coalesce(a.state, '') as "state!", extract(epoch from clock_timestamp() - a.xact_start)::bigint as seconds
            from unnest(pg_blocking_pids($1)) as b (pid)
            left join pg_stat_activity a on a.pid = b.pid
            order by b.pid"#,
            pid,
        )
        .fetch_all(&self.pool)
        .await?)
    }
}

async fn run(connection: &mut PgConnection) -> Result<(), MigrateError> {
    // What `run` does with a connection; its own future could not move between threads.
    sqlx::migrate!().run_direct(None, connection, false).await
}

/// Whether the server gave up waiting for a lock: in time, or because each waited for the other.
fn gave_up(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| ["55P03", "40P01"].contains(&&*code))
}

fn named(holders: &[Holder]) -> String {
    if holders.is_empty() {
        return "nobody who could be seen".to_owned();
    }
    holders.iter().map(Holder::to_string).collect::<Vec<_>>().join(", ")
}

/// Not by its statement, which may hold what people wrote.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            return f.write_str("a prepared transaction");
        }
        write!(f, "process {} of {}", self.pid, self.user)?;
        for part in [&self.application, &self.state].into_iter().filter(|part| !part.is_empty()) {
            write!(f, ", {part}")?;
        }
        self.seconds.map_or(Ok(()), |seconds| write!(f, ", for {seconds} s"))
    }
}
