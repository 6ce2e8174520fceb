//! Pointers to snapshots: fenced, the newest first, forgotten when nobody needs them.

use serde_json::json;
use stepwise::{
    domain::{Job, Lease},
    store::{Snapshot, Store, StoreError},
};

use crate::support::database::TestDatabase;

fn snapshot(lease: Lease, step: i64) -> Snapshot {
    Snapshot {
        lease_epoch: lease.epoch,
        step,
        artifact_prefix: format!("jobs/{}/e{}/snapshot-{step}", lease.job_id, lease.epoch),
        manifest_sha256: "ef".repeat(32),
        bytes: 1000,
    }
}

async fn steps(db: &TestDatabase, job: &Job) -> Vec<(i64, i64)> {
    let snapshots = db.store.snapshots(job.id).await.unwrap();
    snapshots.iter().map(|snapshot| (snapshot.lease_epoch, snapshot.step)).collect()
}

#[tokio::test]
async fn the_newest_comes_first_and_the_older_ones_are_forgotten() {
    let db = TestDatabase::new().await;
    let (job, lease) = db.running_job().await;
    db.store.record_snapshot(lease, &snapshot(lease, 500)).await.unwrap();
    db.store.release(lease).await.unwrap();
    let (_, lease) = db.claim().await.unwrap();
    // A later hold may have begun anew: its snapshots count, not those with more steps.
    for step in [100, 200] {
        db.store.record_snapshot(lease, &snapshot(lease, step)).await.unwrap();
    }
    assert_eq!(steps(&db, &job).await, [(2, 200), (2, 100), (1, 500)]);
    db.store.forget_older_snapshots(lease, 200).await.unwrap();
    assert_eq!(steps(&db, &job).await, [(2, 200)]);
    assert_eq!(db.store.snapshots(job.id).await.unwrap(), [snapshot(lease, 200)]);
    db.store.forget_snapshot(lease, &snapshot(lease, 200)).await.unwrap();
    assert_eq!(steps(&db, &job).await, []);
    assert!(db.event_codes(job.id).await.contains(&"snapshot".to_owned()));
}

#[tokio::test]
async fn a_snapshot_whose_recording_is_repeated_is_there_once_with_one_event() {
    let db = TestDatabase::new().await;
    let (job, lease) = db.running_job().await;
    // As a worker does it that never heard how the first statement ended.
    for _ in 0..2 {
        db.store.record_snapshot(lease, &snapshot(lease, 500)).await.unwrap();
    }
    assert_eq!(db.store.snapshots(job.id).await.unwrap(), [snapshot(lease, 500)]);
    assert_eq!(db.event_codes(job.id).await, ["queued", "started", "snapshot"]);
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_neither_records_nor_forgets() {
    let db = TestDatabase::new().await;
    let (job, old) = db.running_job().await;
    db.store.release(old).await.unwrap();
    let (_, new) = db.claim().await.unwrap();
    db.store.record_snapshot(new, &snapshot(new, 10)).await.unwrap();
    let refused = db.store.record_snapshot(old, &snapshot(old, 20)).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost(_))), "{refused:?}");
    db.store.forget_older_snapshots(old, 20).await.unwrap();
    db.store.forget_snapshot(old, &snapshot(new, 10)).await.unwrap();
    assert_eq!(steps(&db, &job).await, [(2, 10)]);
}

#[tokio::test]
async fn only_a_succeeded_job_needs_none() {
    let db = TestDatabase::new().await;
    let (cancelled, lease) = db.running_job().await;
    db.store.record_snapshot(lease, &snapshot(lease, 10)).await.unwrap();
    db.store.cancel_job(Store::default_project(), cancelled.id).await.unwrap();
    db.store.release(lease).await.unwrap();
    let (succeeded, lease) = db.running_job().await;
    db.store.record_snapshot(lease, &snapshot(lease, 10)).await.unwrap();
    assert_eq!(db.store.succeeded_with_snapshots(10).await.unwrap(), []);
    db.store.finish(lease, &json!({})).await.unwrap();
    assert_eq!(db.store.succeeded_with_snapshots(10).await.unwrap(), [(succeeded.id, lease.epoch)]);
    for job in [&cancelled, &succeeded] {
        db.store.forget_snapshots_of_succeeded(job.id).await.unwrap();
    }
    assert_eq!((steps(&db, &cancelled).await.len(), steps(&db, &succeeded).await.len()), (1, 0));
}
