//! A latch in the database: rows that come into a table wait there, within their statement, until the test lets them in.

use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

/// A closed latch.
pub struct Latch {
    pool: PgPool,
    /// Holds the lock that the rows wait for.
    holder: PgConnection,
}

impl Latch {
    /// Closes a table for rows that fulfil a condition.
    pub async fn close(pool: &PgPool, table: &str, condition: &str) -> Self {
        let statements = format!(
            "create function wait_at_the_latch() returns trigger language plpgsql as $$
                begin perform pg_advisory_xact_lock_shared(7); return new; end $$;
            create trigger latch before insert on {table} for each row when ({condition})
                execute function wait_at_the_latch()"
        );
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(pool).await.unwrap();
        let mut holder = PgConnection::connect_with(&pool.connect_options()).await.unwrap();
        sqlx::query("select pg_advisory_lock(7)").execute(&mut holder).await.unwrap();
        Self { pool: pool.clone(), holder }
    }

    /// How many statements wait for a lock, at the latch or elsewhere.
    pub async fn waiting(&self) -> i64 {
        let count = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        sqlx::query_scalar(count).fetch_one(&self.pool).await.unwrap()
    }

    /// Waits until so many statements wait.
    pub async fn until_waiting(&self, count: i64) {
        while self.waiting().await != count {}
    }

    /// Lets all rows in.
    pub async fn open(&mut self) {
        sqlx::query("select pg_advisory_unlock(7)").execute(&mut self.holder).await.unwrap();
    }
}
