//! The queue's protocol, statement by statement, on a real Postgres.

use std::collections::{BTreeMap, HashSet};

use chrono::TimeDelta;
use serde_json::json;
use stepwise::{
    clock::Clock,
    domain::{Annotation, AnnotationStatus, JobError, JobId, JobKind, JobState, Lease, PauseReason, Progress},
    store::{Beat, EventLevel, NewEvent, Store, StoreError},
};

use crate::support::{
    database::TestDatabase,
    seed::{annotation_of, long_terms, new_file, new_job, new_worker, settle},
};

#[tokio::test]
async fn a_job_is_claimed_beaten_and_finished() {
    let db = TestDatabase::new().await;
    let job = db.job().await;
    assert_eq!((job.state, job.attempt, job.lease_epoch), (JobState::Queued, 0, 0));

    let (claimed, lease) = db.claim().await.unwrap();
    assert_eq!((claimed.id, claimed.state, claimed.attempt, lease.epoch), (job.id, JobState::Running, 1, 1));
    assert_eq!(claimed.spec, job.spec);
    assert!(db.claim().await.is_none());

    let beats = db.store.beat(&[lease], &long_terms()).await.unwrap();
    assert_eq!(beats, [Beat { lease, requested: None }]);
    db.store.progress(lease, Progress { step: 3, total: 9 }).await.unwrap();
    db.store.finish(lease, &json!({"answer": 42})).await.unwrap();

    let done = db.read(job.id).await;
    assert_eq!((done.state, done.progress), (JobState::Succeeded, Some(Progress { step: 3, total: 9 })));
    assert_eq!((done.result, done.lease_owner), (Some(json!({"answer": 42})), None));
    assert!(done.finished_at >= done.started_at && done.started_at >= Some(done.created_at));
    assert_eq!(db.event_codes(job.id).await, ["queued", "started", "succeeded"]);
}

#[tokio::test]
async fn a_lost_lease_changes_nothing() {
    let db = TestDatabase::new().await;
    let (job, zombie) = db.running_job().await;
    db.expire(job.id).await;
    assert_eq!(db.store.reap(10).await.unwrap(), [(job.id, JobState::Queued)]);
    // While it waits again, and while another worker has it.
    assert_refused(&db, zombie).await;
    db.make_due(job.id).await;
    let (_, lease) = db.claim().await.unwrap();
    assert_eq!(lease.epoch, zombie.epoch + 1);
    assert_refused(&db, zombie).await;
    db.store.finish(lease, &json!({})).await.unwrap();
    assert_refused(&db, zombie).await;
}

async fn assert_refused(db: &TestDatabase, zombie: Lease) {
    let before = db.read(zombie.job_id).await;
    let events = db.event_codes(zombie.job_id).await;
    let store = &db.store;
    let error = JobError::new("broken", "it broke");
    let event = NewEvent { level: EventLevel::Info, code: "x".into(), message: "x".into(), data: json!({}) };
    let figures = BTreeMap::from([("loss".to_owned(), 1.0)]);
    let refusals = [
        store.finish(zombie, &json!({})).await.err(),
        store.finish_with_files(zombie, &json!({}), &[&new_file(), &new_file()]).await.err(),
        store.fail(zombie, &error, true).await.err(),
        store.fail(zombie, &error, false).await.err(),
        store.release(zombie).await.err(),
        store.cancelled(zombie).await.err(),
        store.progress(zombie, Progress { step: 1, total: 2 }).await.err(),
        store.append_event(zombie, &event).await.err(),
        store.append_metrics(zombie, 1, &figures).await.err(),
        settle(store, zombie, &annotation(0)).await.err(),
        store.open_ledger(zombie).await.err(),
        store.close_ledger(zombie).await.err(),
        store.take_hand(zombie, new_worker(), long_terms().duration).await.err(),
        store.plan_chunks(zombie, &[]).await.err(),
        store.pass_smoke(zombie).await.err(),
        store.pause_running(zombie, PauseReason::Budget, &event).await.err(),
    ];
    for (place, refusal) in refusals.into_iter().enumerate() {
        assert!(matches!(refusal, Some(StoreError::LeaseLost(lease)) if lease == zombie), "{place}: {refusal:?}");
    }
    assert_eq!(store.beat(&[zombie], &long_terms()).await.unwrap(), []);
    assert_eq!(db.read(zombie.job_id).await, before);
    assert_eq!(db.event_codes(zombie.job_id).await, events);
    assert!(store.list_annotations(zombie.job_id, &[], None, 10).await.unwrap().items.is_empty());
    assert!(store.past_calls(zombie.job_id, 0, 10).await.unwrap().calls.is_empty());
    assert!(store.list_metrics(zombie.job_id, None, None, 10).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_never_get_one_job() {
    let db = TestDatabase::new().await;
    let file = db.file().await;
    for _ in 0..200 {
        db.store.create_job(&new_job(annotation_of(file.id))).await.unwrap();
    }
    let workers: Vec<_> = (0..50)
        .map(|_| {
            let store = db.store.clone();
            tokio::spawn(async move {
                let mut taken = Vec::new();
                while let Some((job, lease)) = claim_patiently(&store).await {
                    assert_eq!(lease.epoch, 1);
                    taken.push(job.id);
                }
                taken
            })
        })
        .collect();
    let mut taken = Vec::new();
    for worker in workers {
        taken.extend(worker.await.unwrap());
    }
    assert_eq!(taken.len(), 200);
    assert_eq!(taken.into_iter().collect::<HashSet<_>>().len(), 200);
}

/// Fifty tasks share ten connections, and on a busy machine one may wait long for its turn.
async fn claim_patiently(store: &Store) -> Option<(stepwise::domain::Job, Lease)> {
    loop {
        match store.claim(new_worker(), &JobKind::ALL, &long_terms()).await {
            Err(error) if error.is_unavailable() => continue,
            claimed => return claimed.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_worker_gets_only_the_kinds_it_asks_for() {
    let db = TestDatabase::new().await;
    db.job().await;
    let none =
        db.store.claim(new_worker(), &[JobKind::Distillation, JobKind::Evaluation], &long_terms()).await.unwrap();
    assert!(none.is_none());
}

#[tokio::test]
async fn a_job_is_poison_after_three_losses_without_progress() {
    let db = TestDatabase::new().await;
    let job = db.job().await;
    for _ in 0..2 {
        assert_eq!(lose(&db, job.id, 5).await, JobState::Queued);
    }
    assert_eq!(lose(&db, job.id, 5).await, JobState::Failed);
    let failed = db.read(job.id).await;
    assert_eq!((failed.error.unwrap().code.as_str(), failed.lost_count), ("poison", 3));
    let codes = db.event_codes(job.id).await;
    assert_eq!(codes[codes.len() - 2..], ["started", "failed"]);
}

#[tokio::test]
async fn a_loss_after_progress_beyond_the_last_one_is_the_first_again() {
    let db = TestDatabase::new().await;
    let job = db.job().await;
    db.set(job.id, "max_attempts = 10").await;
    for step in [5, 5, 6, 6, 6] {
        let expected = if step == 5 || db.read(job.id).await.attempt < 4 { JobState::Queued } else { JobState::Failed };
        assert_eq!(lose(&db, job.id, step).await, expected, "step {step}");
    }
    assert_eq!(db.read(job.id).await.attempt, 5);
}

/// One attempt that gets to `step` and loses its worker.
async fn lose(db: &TestDatabase, id: JobId, step: i64) -> JobState {
    db.make_due(id).await;
    let (_, lease) = db.claim().await.unwrap();
    db.store.progress(lease, Progress { step, total: 100 }).await.unwrap();
    db.expire(id).await;
    let reaped = db.store.reap(10).await.unwrap();
    assert_eq!(reaped.len(), 1);
    reaped[0].1
}

#[tokio::test]
async fn a_job_without_attempts_left_fails_when_its_worker_is_lost() {
    let db = TestDatabase::new().await;
    let (job, _) = db.running_job().await;
    db.set(job.id, "max_attempts = 1").await;
    db.expire(job.id).await;
    assert_eq!(db.store.reap(10).await.unwrap(), [(job.id, JobState::Failed)]);
    assert_eq!(db.read(job.id).await.error.unwrap().code, "lease_lost");
}

#[tokio::test]
async fn a_live_lease_is_not_reaped() {
    let db = TestDatabase::new().await;
    let (job, _) = db.running_job().await;
    assert_eq!(db.store.reap(10).await.unwrap(), []);
    assert_eq!(db.read(job.id).await.state, JobState::Running);
}

#[tokio::test]
async fn a_retryable_failure_waits_longer_each_time_and_ends() {
    let db = TestDatabase::new().await;
    let job = db.job().await;
    db.set(job.id, "max_attempts = 3").await;
    for (least, most) in [(5, 15), (10, 30)] {
        db.make_due(job.id).await;
        let (_, lease) = db.claim().await.unwrap();
        let before = Clock::system().now();
        let error = JobError::new("teacher_unreachable", "no answer").with_hint("start it");
        assert_eq!(db.store.fail(lease, &error, true).await.unwrap(), JobState::Queued);
        let waiting = db.read(job.id).await;
        let wait = waiting.run_at - before;
        assert!(wait >= TimeDelta::seconds(least) && wait <= TimeDelta::seconds(most + 1), "{wait}");
        assert_eq!(waiting.error, Some(error));
        assert!(db.claim().await.is_none());
    }
    db.make_due(job.id).await;
    let (_, lease) = db.claim().await.unwrap();
    assert_eq!(db.store.fail(lease, &JobError::new("x", "y"), true).await.unwrap(), JobState::Failed);
    let codes = db.event_codes(job.id).await;
    assert_eq!(codes, ["queued", "started", "retry_scheduled", "started", "retry_scheduled", "started", "failed"]);
}

#[tokio::test]
async fn a_final_failure_is_not_tried_again() {
    let db = TestDatabase::new().await;
    let (job, lease) = db.running_job().await;
    assert_eq!(db.store.fail(lease, &JobError::new("bad_rows", "no"), false).await.unwrap(), JobState::Failed);
    assert_eq!(db.read(job.id).await.error.unwrap().code, "bad_rows");
}

#[tokio::test]
async fn a_draining_worker_gives_the_attempt_back() {
    let db = TestDatabase::new().await;
    let (job, lease) = db.running_job().await;
    assert_eq!(db.store.release(lease).await.unwrap(), JobState::Queued);
    let waiting = db.read(job.id).await;
    assert_eq!((waiting.attempt, waiting.lease_epoch), (0, 1));
    let (again, next) = db.claim().await.unwrap();
    assert_eq!((again.attempt, next.epoch), (1, 2));
    assert_refused(&db, lease).await;
}

#[tokio::test]
async fn a_higher_priority_runs_sooner_until_waiting_outweighs_it() {
    let db = TestDatabase::new().await;
    let file = db.file().await;
    let mut ids = Vec::new();
    for priority in [0, 1, 2] {
        let mut new = new_job(annotation_of(file.id));
        new.priority = priority;
        ids.push(db.store.create_job(&new).await.unwrap().id);
    }
    let place = async |id| db.store.queue_place(id).await.unwrap().map(|place| (place.position, place.depth));
    assert_eq!(place(ids[0]).await, Some((3, 3)));
    assert_eq!(place(ids[2]).await, Some((1, 3)));
    // One point is worth 15 minutes, so a job that has waited for 31 is ahead of two points.
    db.set(ids[0], "run_at = run_at - interval '31 minutes', sort_at = sort_at - interval '31 minutes'").await;
    let mut order = Vec::new();
    while let Some((job, _)) = db.claim().await {
        order.push(job.id);
    }
    assert_eq!(order, [ids[0], ids[2], ids[1]]);
    assert_eq!(place(ids[0]).await, None);
}

#[tokio::test]
async fn progress_and_beats_are_heap_only_updates() {
    let db = TestDatabase::new().await;
    let (_, lease) = db.running_job().await;
    for step in 0..200 {
        db.store.beat(&[lease], &long_terms()).await.unwrap();
        db.store.progress(lease, Progress { step, total: 200 }).await.unwrap();
    }
    // A server process reports its figures when it ends.
    let end = "select pg_terminate_backend(pid, 5000) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()";
    sqlx::query(end).execute(&db.pool).await.unwrap();
    let statistics = "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'jobs'";
    let (total, hot): (i64, i64) = sqlx::query_as(statistics).fetch_one(&db.pool).await.unwrap();
    assert!(total >= 400 && hot * 10 >= total * 9, "{hot} of {total}");
}

#[tokio::test]
async fn a_job_that_cannot_be_read_fails_instead_of_blocking_the_queue() {
    let db = TestDatabase::new().await;
    let job = db.job().await;
    db.set(job.id, "spec = jsonb_build_object('kind', 'annotation')").await;
    let error = db.store.claim(new_worker(), &JobKind::ALL, &long_terms()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("spec of row {} in jobs is not readable", job.id));
    assert!(db.claim().await.is_none());
    assert!(matches!(
        db.store.job(Store::default_project(), job.id).await,
        Err(StoreError::Row { table: "jobs", column: "spec", .. })
    ));
}

fn annotation(index: i64) -> Annotation {
    Annotation {
        example_index: index,
        example_id: format!("line-{index}"),
        input: "a question".to_owned(),
        split: None,
        label: None,
        status: AnnotationStatus::Failed,
        reason: None,
        teacher_label: None,
        rationale: None,
        raw_output: None,
        input_tokens: 0,
        output_tokens: 0,
        latency_ms: 0,
        ..Annotation::default()
    }
}
