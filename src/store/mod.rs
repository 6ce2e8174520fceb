//! All SQL, a file a table or protocol; it knows nothing of HTTP, files or tensors.
//!
//! The queue's protocol is described in [`queue`]. Each change is one statement; the few transactions run in tasks of
//! their own, because a future that is dropped between two statements would hand a connection inside a transaction back
//! to the pool (sqlx#4393). Every instant that is stored comes from Postgres.

mod aliases;
mod annotation_ends;
mod annotation_report;
mod annotations;
mod api_keys;
mod ask_again;
mod audit_log;
mod checkpoint_lists;
mod checkpoints;
mod chunks;
mod error;
mod estimates;
mod events;
mod file_removal;
mod files;
mod hands;
mod history;
mod hub_commits;
mod idempotency;
mod job_creation;
mod jobs;
pub mod ledger;
mod leftovers;
mod listen;
mod metrics;
mod migrate;
mod model_removal;
mod models;
pub mod queue;
mod reap;
mod references;
mod requests;
mod result_files;
mod rows;
mod snapshots;
mod storable;
mod teacher_paces;

use std::{str::FromStr, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions, types::PgInterval},
};
use uuid::Uuid;

use crate::domain::ProjectId;

pub use aliases::{DeletedAlias, PutAlias, SetAlias};
pub use annotation_report::{AnnotationLengths, Faulty, LabelPair, Rejections, ShownExample};
pub use api_keys::{NewApiKey, StoredKey};
pub use audit_log::{AuditEntry, NewAudit};
pub use checkpoint_lists::CheckpointOrder;
pub use checkpoints::WhichCheckpoint;
pub use error::StoreError;
pub use estimates::PastJob;
pub use events::{Event, EventLevel, NewEvent};
pub use file_removal::{DeletedFile, RemovedFile};
pub use files::FileFilter;
pub use history::{Told, ToldAt, ToldList, ToldWhat};
pub use idempotency::{KeyClaim, KeyHold, StoredAnswer};
pub use job_creation::NewJob;
pub use jobs::{JobFilter, QueuePlace};
pub use ledger::{FailingRow, LedgerBatch, LedgerCommit, PastCalls, SmokeReport};
pub use leftovers::Artifact;
pub use listen::{JobListener, Wake};
pub use metrics::{Metric, StepFigures};
pub use migrate::MigrationPatience;
pub use model_removal::{Deletion, Removed, RemovedKind};
pub use models::Relative;
pub use queue::{Beat, Request};
pub use requests::{Resumed, Retried};
pub use snapshots::Snapshot;
pub use teacher_paces::PaceKeeper;

/// How long a call waits for a connection before it says that the database cannot be reached. Short, so that the API
/// answers 503 quickly.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// A page of rows that may be large ends with the row that brings it to so many bytes of text.
const PAGE_BYTES: i64 = 8 << 20;

/// The service's database. Cheap to clone: clones share one pool.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
}

/// Part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Whether the list goes on after them.
    pub has_more: bool,
}

impl Store {
    /// Connects and makes sure that the database answers.
    pub async fn connect(url: &str, max_connections: u32) -> Result<Self, StoreError> {
        let store = Self::connect_lazy(url, max_connections)?;
        store.ping().await?;
        Ok(store)
    }

    /// Connects at first use; fails only on an address that cannot be read.
    pub fn connect_lazy(url: &str, max_connections: u32) -> Result<Self, StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(connect_options(url)?);
        Ok(Self { pool })
    }

    /// Whether an address can be read; asks nobody.
    ///
    /// # Errors
    /// [`StoreError::Address`], which does not repeat the address.
    pub fn check_address(url: &str) -> Result<(), StoreError> {
        connect_options(url).map(drop)
    }

    /// Makes sure that the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query_scalar!(
            r#"-- ping
            select 1 as "one!""#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(())
    }

    /// Open connections, and how many of them nobody uses.
    pub fn pool_figures(&self) -> (u32, usize) {
        (self.pool.size(), self.pool.num_idle())
    }

    /// The project of what is asked for without a key, and of keys that name no other; the first migration makes it.
    pub fn default_project() -> ProjectId {
        ProjectId(Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0001))
    }
}

fn connect_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url).map_err(StoreError::Address)?;
    // A transaction that somebody forgot must not hold back vacuum or locks.
    Ok(options.application_name("stepwise").options([("idle_in_transaction_session_timeout", "10s")]))
}

impl<T> Page<T> {
    /// Makes a page of rows that were asked for with one more than `limit`.
    fn cut(mut items: Vec<T>, limit: u32) -> Self {
        let has_more = items.len() > limit as usize;
        items.truncate(limit as usize);
        Self { items, has_more }
    }

    /// Makes a page of the first of `found` rows, of which there was one more than `limit` to be had: the others would
    /// have made it too large.
    fn of_some(mut items: Vec<T>, found: i64, limit: u32) -> Self {
        items.truncate(limit as usize);
        let has_more = i64::try_from(items.len()).is_ok_and(|taken| taken < found);
        Self { items, has_more }
    }
}

/// What to ask for, to learn whether there is more.
fn one_more(limit: u32) -> i64 {
    i64::from(limit) + 1
}

/// A duration for a statement.
fn interval(duration: Duration) -> PgInterval {
    let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}
