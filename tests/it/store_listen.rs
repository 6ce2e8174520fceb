//! Hearing that the queue moved.

use std::time::Duration;

use stepwise::store::{JobListener, Store, Wake};

use crate::support::database::TestDatabase;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_submitted_job_wakes_the_listener() {
    let db = TestDatabase::new().await;
    let mut listener = JobListener::connect(&db.url).await.unwrap();
    assert_eq!(listener.wait(SHORT).await, Wake::TimedOut);
    let job = db.job().await;
    assert_eq!(listener.wait(LONG).await, Wake::Notified);
    // Becoming running wakes nobody, nor does a pause that is withdrawn; a pause and a cancel wake the worker.
    db.claim().await.unwrap();
    assert_eq!(listener.wait(SHORT).await, Wake::TimedOut);
    db.store.pause_job(Store::default_project(), job.id).await.unwrap();
    assert_eq!(listener.wait(LONG).await, Wake::Notified);
    db.store.resume_job(Store::default_project(), job.id, None).await.unwrap();
    assert_eq!(listener.wait(SHORT).await, Wake::TimedOut);
    db.store.cancel_job(Store::default_project(), job.id).await.unwrap();
    assert_eq!(listener.wait(LONG).await, Wake::Notified);
}

#[tokio::test]
async fn beats_and_progress_wake_nobody() {
    let db = TestDatabase::new().await;
    let (_, lease) = db.running_job().await;
    let mut listener = JobListener::connect(&db.url).await.unwrap();
    db.store.beat(&[lease], &crate::support::seed::long_terms()).await.unwrap();
    db.store.progress(lease, stepwise::domain::Progress { step: 1, total: 2 }).await.unwrap();
    assert_eq!(listener.wait(SHORT).await, Wake::TimedOut);
}

#[tokio::test]
async fn a_wait_that_was_dropped_loses_no_signal() {
    let db = TestDatabase::new().await;
    let mut listener = JobListener::connect(&db.url).await.unwrap();
    for _ in 0..5 {
        assert!(tokio::time::timeout(Duration::from_millis(5), listener.wait(LONG)).await.is_err());
    }
    db.job().await;
    assert_eq!(listener.wait(LONG).await, Wake::Notified);
}

#[tokio::test]
async fn a_listener_that_was_cut_off_says_so_and_hears_again() {
    let db = TestDatabase::new().await;
    let mut listener = JobListener::connect(&db.url).await.unwrap();
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and query ilike 'listen%'";
    assert_eq!(sqlx::query(cut).fetch_all(&db.pool).await.unwrap().len(), 1);
    assert_eq!(listener.wait(LONG).await, Wake::Reconnected);
    assert_eq!(listener.wait(LONG).await, Wake::Reconnected);
    db.job().await;
    assert_eq!(listener.wait(LONG).await, Wake::Notified);
}
