//! Keys as `stepwise keys` makes them.

use super::service::{Ended, run};

/// Every scope.
pub const ALL: &str = "read,submit,infer,admin";

/// Runs `stepwise keys` on this database.
pub fn keys(database: &str, arguments: &[&str]) -> Ended {
    run(&[&["keys"], arguments].concat(), &[("DATABASE_URL", database)])
}

/// A new key with these scopes.
#[track_caller]
pub fn make_key(database: &str, scopes: &str) -> String {
    let ended = keys(database, &["create", "--name", "a test", "--scopes", scopes]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.out.trim_end().to_owned()
}

/// The id in a key.
pub fn id_of(key: &str) -> &str {
    &key[3..11]
}
