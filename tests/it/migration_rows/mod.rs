//! Every migration from the schema before it, with rows in every table that there is then.

mod rows;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, PgPool};

use crate::support::database::TestDatabase;

/// Columns that have another name since a migration.
const RENAMED: [(i64, &str, &str, &str); 1] = [(18, "teacher_calls", "lease_epoch", "hand")];

/// Each table's rows by their columns.
type Rows = BTreeMap<String, Vec<Map<String, Value>>>;

async fn rows(pool: &PgPool) -> Rows {
    let tables = "select relname::text from pg_class
        where relkind = 'r' and relnamespace = 'public'::regnamespace and relname <> '_sqlx_migrations'";
    let mut found = Rows::new();
    for table in sqlx::query_scalar::<_, String>(tables).fetch_all(pool).await.unwrap() {
        let rows = sqlx::query_scalar::<_, Value>(AssertSqlSafe(format!("select to_jsonb(t) from {table} t")));
        let rows = rows.fetch_all(pool).await.unwrap();
        found.insert(table, rows.into_iter().map(|row| row.as_object().unwrap().clone()).collect());
    }
    found
}

/// The columns of a table that has rows.
fn columns(rows: &[Map<String, Value>]) -> BTreeSet<&String> {
    rows.iter().flat_map(Map::keys).collect()
}

/// What rows say in these columns, in an order of their own.
fn said(rows: &[Map<String, Value>], columns: &BTreeSet<String>) -> Vec<String> {
    let of = |row: &Map<String, Value>| columns.iter().map(|column| format!("{column}={} ", row[column])).collect();
    let mut said: Vec<String> = rows.iter().map(of).collect();
    said.sort();
    said
}

/// Every row of before is there, and says in each of its columns what it said.
fn check_kept(version: i64, mut before: Rows, after: &Rows) {
    for (renamed_by, table, old, new) in RENAMED {
        for row in before.get_mut(table).filter(|_| renamed_by == version).into_iter().flatten() {
            let value = row.remove(old).unwrap();
            row.insert(new.to_owned(), value);
        }
    }
    for (table, before) in &before {
        let after = after.get(table).unwrap_or_else(|| panic!("migration {version} takes {table} away"));
        let lost: Vec<_> = columns(before).difference(&columns(after)).copied().collect();
        assert!(lost.is_empty(), "migration {version} takes {lost:?} of {table} away");
        let columns = columns(before).into_iter().cloned().collect();
        assert_eq!(said(after, &columns), said(before, &columns), "migration {version}, {table}");
    }
}

/// What Postgres does not hold rows to, because a migration left it half-made.
async fn unsound(pool: &PgPool) -> Vec<String> {
    let unsound = "select conname::text from pg_constraint where not convalidated
        union all select indexrelid::regclass::text from pg_index where not indisvalid
        union all select tgname::text from pg_trigger where tgenabled = 'D'";
    sqlx::query_scalar(unsound).fetch_all(pool).await.unwrap()
}

#[tokio::test]
async fn every_migration_keeps_every_row_of_the_schema_before_it() {
    let db = TestDatabase::empty().await;
    let migrator = sqlx::migrate!();
    for migration in migrator.iter() {
        let (version, before) = (migration.version, rows(&db.pool).await);
        let empty: Vec<_> = before.iter().filter(|(_, rows)| rows.is_empty()).map(|(table, _)| table).collect();
        assert!(empty.is_empty(), "rows.rs has no rows for {empty:?} before migration {version}");
        migrator.run_to(version, &db.pool).await.unwrap();
        check_kept(version, before, &rows(&db.pool).await);
        assert_eq!(unsound(&db.pool).await, Vec::<String>::new(), "after migration {version}");
        for written in rows::written_after(version) {
            sqlx::raw_sql(AssertSqlSafe(written.clone())).execute(&db.pool).await.unwrap_or_else(|error| {
                panic!("the rows after migration {version}: {error}\n{written}");
            });
        }
    }
    db.store.migrate().await.unwrap();
}

#[test]
#[should_panic(expected = "migration 7, jobs")]
fn a_row_that_a_migration_changes_is_noticed() {
    let jobs = |state: &str| {
        let row = Map::from_iter([("id".to_owned(), "a".into()), ("state".to_owned(), state.into())]);
        Rows::from([("jobs".to_owned(), vec![row])])
    };
    check_kept(7, jobs("queued"), &jobs("queued"));
    check_kept(7, jobs("queued"), &jobs("failed"));
}

#[test]
#[should_panic(expected = "migration 7, jobs")]
fn a_row_that_a_migration_loses_is_noticed() {
    let row = |id: &str| Map::from_iter([("id".to_owned(), Value::from(id))]);
    let of = |rows| Rows::from([("jobs".to_owned(), rows)]);
    check_kept(7, of(vec![row("a"), row("a")]), &of(vec![row("a")]));
}
