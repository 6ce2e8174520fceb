//! What can go wrong between the service and its database, by what the caller can do about it.

use std::error::Error;

use crate::domain::{Hand, Lease};

/// Why the store did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another worker holds the job, or nobody does: stop the work and discard its outcome.
    #[error("the lease on {} at epoch {} is lost", .0.job_id, .0.epoch)]
    LeaseLost(Lease),
    /// A worker's hand in an annotation was taken away, or the annotation is over: stop asking and discard what is not written.
    #[error("the hand {} in {} is lost", .0.epoch, .0.job_id)]
    HandLost(Hand),
    /// The database cannot be reached right now: try again later.
    #[error("the database cannot be reached")]
    Unavailable(#[source] sqlx::Error),
    /// The connection broke off before the database had said whether it did as asked.
    #[error("the database did not answer")]
    Unanswered(#[source] sqlx::Error),
    /// A row that this program cannot read, which a newer program or a hand may have written.
    #[error("{column} of row {id} in {table} is not readable")]
    Row {
        /// The row's table.
        table: &'static str,
        /// The column at fault.
        column: &'static str,
        /// The row's id.
        id: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The request names something that is not there, or no longer.
    #[error("{what} {id} does not exist")]
    Missing {
        /// `job`, `file`, `model` or `checkpoint`; `what was made by` a job.
        what: &'static str,
        /// The id that was named.
        id: String,
    },
    /// Another request has taken over the idempotency key of this one, which therefore made nothing.
    #[error("the idempotency key was taken over by another request")]
    KeyLost,
    /// The write contradicts what is stored.
    #[error("the write breaks the rule {constraint}")]
    Conflict {
        /// The constraint's name in the schema.
        constraint: String,
    },
    /// The database's address cannot be read.
    #[error("the database's address is not valid")]
    Address(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the schema could not be migrated")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// Others kept tables in use that a migration changes.
    #[error(
        "the schema could not be migrated: in {tries} tries its tables were in use, last by {by}; migrate when that has ended, or end it with pg_terminate_backend"
    )]
    Locked {
        /// How often it was tried.
        tries: u32,
        /// Who used them.
        by: String,
        /// What the database said to the last try.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// The program is going down and took the work with it.
    #[error("the work on the database was abandoned")]
    Abandoned(#[source] tokio::task::JoinError),
    /// Anything else that the database said.
    #[error("the database refused a statement")]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether trying again later may help: connection trouble, a restart, a full disk, too many connections.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unanswered(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if passes(&error) {
            return Self::Unavailable(error);
        }
        match error.as_database_error().filter(|error| broke_a_rule(error.code().as_deref())) {
            Some(broken) => Self::Conflict { constraint: broken.constraint().unwrap_or("unnamed").to_owned() },
            None => Self::Database(error),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            // A migration is one transaction: one that was cut short has changed nothing.
            sqlx::migrate::MigrateError::Execute(error) | sqlx::migrate::MigrateError::ExecuteMigration(error, _)
                if passes(&error) =>
            {
                Self::Unavailable(error)
            }
            error => Self::Migration(error),
        }
    }
}

fn passes(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code_passes(&code)),
        _ => false,
    }
}

/// SQLSTATE: connection exceptions, insufficient resources, operator intervention, a server that only reads since another
/// one has taken over, and a deadlock or a transaction that the server ended, which the same statement survives at the next
/// try.
fn code_passes(code: &str) -> bool {
    ["08", "53", "57"].iter().any(|class| code.starts_with(class))
        || ["25006", "25P03", "40001", "40P01", "55P03"].contains(&code)
}

/// SQLSTATE class 23: unique, foreign key, check and not-null constraints.
fn broke_a_rule(code: Option<&str>) -> bool {
    code.is_some_and(|code| code.starts_with("23"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failover_a_restart_or_a_full_server_says_passes_and_a_broken_rule_does_not() {
        for code in ["25006", "57P01", "57P02", "57P03", "53100", "53300", "08006", "40001", "25P03"] {
            assert!(code_passes(code), "{code}");
        }
        for code in ["23505", "25001", "42601", "22003"] {
            assert!(!code_passes(code), "{code}");
        }
    }
}
