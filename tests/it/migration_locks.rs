//! A migration stands in nobody's way, waits for its turn, and says who kept it from it.

use std::{str::FromStr, time::Duration};

use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, postgres::PgConnectOptions};
use stepwise::store::{MigrationPatience, Store, StoreError};

use crate::support::{database::TestDatabase, service::until};

/// It changes the table `files`, whose readers it waits for.
const CHANGES_FILES: i64 = 19;
/// Longer than anything takes that is not held up.
const HELD_UP: Duration = Duration::from_secs(20);

fn patience(tries: u32) -> MigrationPatience {
    let pause = Duration::from_millis(20);
    MigrationPatience { lock_timeout: Duration::from_millis(500), tries, first_pause: pause, longest_pause: pause }
}

/// A reader that has not ended.
async fn reader(db: &TestDatabase) -> PgConnection {
    let options = PgConnectOptions::from_str(&db.url).unwrap().application_name("nightly report");
    let mut reader = options.connect().await.unwrap();
    for statement in ["begin", "select count(*) from files"] {
        sqlx::query(statement).execute(&mut reader).await.unwrap();
    }
    reader
}

async fn is_applied(pool: &PgPool, version: i64) -> bool {
    let applied = "select exists (select from _sqlx_migrations where version = $1)";
    sqlx::query_scalar(applied).bind(version).fetch_one(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_waits_for_a_long_reader_holds_up_nobody_and_goes_through_after_it() {
    let db = TestDatabase::before(CHANGES_FILES).await;
    let mut reader = reader(&db).await;
    let store = db.store.clone();
    let migration = tokio::spawn(async move { store.migrate_with(patience(u32::MAX)).await });
    for _ in 0..3 {
        until("the migration waits for the reader", async || {
            let waiting = "select count(*) from pg_locks where not granted and relation = 'files'::regclass";
            let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&db.pool).await.unwrap();
            (waiting > 0).then_some(())
        })
        .await;
        let asked = sqlx::query("select count(*) from files").execute(&db.pool);
        tokio::time::timeout(HELD_UP, asked).await.expect("others queue behind the migration").unwrap();
    }
    assert!(!migration.is_finished() && !is_applied(&db.pool, CHANGES_FILES).await);
    sqlx::query("commit").execute(&mut reader).await.unwrap();
    migration.await.unwrap().unwrap();
    assert!(is_applied(&db.pool, CHANGES_FILES).await);
    reader.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_whose_table_is_never_free_says_who_holds_it_and_leaves_all_as_it_was() {
    let db = TestDatabase::before(CHANGES_FILES).await;
    let mut reader = reader(&db).await;
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut reader).await.unwrap();
    let error = db.store.migrate_with(patience(3)).await.unwrap_err();
    let StoreError::Locked { tries: 3, by, .. } = &error else { panic!("{error:?}") };
    let (process, who) = (format!("process {pid} of "), "nightly report, idle in transaction, for ");
    assert!(by.starts_with(&process) && by.contains(who), "{by}");
    assert!(error.to_string().contains(by) && !error.is_unavailable(), "{error}");
    let locks = "select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())";
    until("the migrator has let go", async || {
        let locks: i64 = sqlx::query_scalar(locks).fetch_one(&db.pool).await.unwrap();
        (locks == 0).then_some(())
    })
    .await;
    assert!(!is_applied(&db.pool, CHANGES_FILES).await);
    sqlx::query("commit").execute(&mut reader).await.unwrap();
    db.store.migrate().await.unwrap();
    assert!(is_applied(&db.pool, CHANGES_FILES).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_migrate_at_once_wait_for_each_other_however_long_it_takes() {
    let db = TestDatabase::empty().await;
    // So short that whoever comes second gives up many times; it is not counted, since one try is all that each has.
    let hasty = MigrationPatience { lock_timeout: Duration::from_millis(5), ..patience(1) };
    let stores: Vec<_> = (0..4).map(|_| Store::connect_lazy(&db.url, 2).unwrap()).collect();
    let migrations = stores.iter().map(|store| store.migrate_with(hasty));
    for migrated in futures::future::join_all(migrations).await {
        migrated.unwrap();
    }
    let applied: i64 =
        sqlx::query_scalar("select count(*) from _sqlx_migrations where success").fetch_one(&db.pool).await.unwrap();
    assert_eq!(usize::try_from(applied).unwrap(), sqlx::migrate!().migrations.len());
}
