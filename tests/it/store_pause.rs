//! A request to pause meets every way in which an attempt can end; a retry meets the deletion of what it reads.

use serde_json::json;
use stepwise::{
    domain::{Budget, JobError, JobId, JobSpec, JobState, PauseReason},
    store::{DeletedFile, Request, Resumed, Retried, Store, StoreError},
};

use crate::support::{
    database::TestDatabase,
    seed::{annotation_of, long_terms, new_job},
};

async fn pause(db: &TestDatabase, id: JobId) -> stepwise::domain::Job {
    db.store.pause_job(Store::default_project(), id).await.unwrap().unwrap()
}

async fn resume(db: &TestDatabase, id: JobId) -> stepwise::domain::Job {
    match db.store.resume_job(Store::default_project(), id, None).await.unwrap() {
        Some(Resumed::Job(job)) => *job,
        other => panic!("{other:?}"),
    }
}

async fn place(db: &TestDatabase, id: JobId) -> i64 {
    db.store.queue_place(id).await.unwrap().unwrap().position
}

fn passing() -> JobError {
    JobError::new("teacher_unreachable", "nobody answers")
}

#[tokio::test]
async fn a_beat_brings_the_request_and_the_worker_lets_the_job_go_into_a_pause() {
    let db = TestDatabase::new().await;
    let (job, lease) = db.running_job().await;
    assert_eq!(db.store.beat(&[lease], &long_terms()).await.unwrap()[0].requested, None);
    let asked = pause(&db, job.id).await;
    assert_eq!((asked.state, asked.pause_reason), (JobState::Running, None));
    assert_eq!(db.store.beat(&[lease], &long_terms()).await.unwrap()[0].requested, Some(Request::Pause));
    assert_eq!(db.store.release(lease).await.unwrap(), JobState::Paused);
    let paused = db.read(job.id).await;
    assert_eq!((paused.attempt, paused.pause_reason), (0, Some(PauseReason::User)));
    assert_eq!((paused.pause_requested_at, paused.lease_owner, paused.finished_at), (None, None, None));
    assert_eq!(db.event_codes(job.id).await, ["queued", "started", "pause_requested", "paused"]);
    assert!(db.claim().await.is_none(), "a paused job is nobody's");
    assert!(matches!(db.store.finish(lease, &json!({})).await, Err(StoreError::LeaseLost(_))));

    assert_eq!(resume(&db, job.id).await.state, JobState::Queued);
    let (again, second) = db.claim().await.unwrap();
    assert_eq!((again.id, again.attempt), (job.id, 1));
    assert!(second.epoch > lease.epoch);
}

#[tokio::test]
async fn a_pause_that_is_withdrawn_in_time_leads_back_to_the_queue() {
    let db = TestDatabase::new().await;
    let (job, lease) = db.running_job().await;
    pause(&db, job.id).await;
    assert_eq!(resume(&db, job.id).await.pause_requested_at, None);
    assert_eq!(db.store.beat(&[lease], &long_terms()).await.unwrap()[0].requested, None);
    assert_eq!(db.store.release(lease).await.unwrap(), JobState::Queued);
}

#[tokio::test]
async fn an_attempt_that_fails_under_a_request_is_paused_while_attempts_are_left() {
    let db = TestDatabase::new().await;
    let (job, lease) = db.running_job().await;
    pause(&db, job.id).await;
    assert_eq!(db.store.fail(lease, &passing(), true).await.unwrap(), JobState::Paused);
    let paused = db.read(job.id).await;
    assert_eq!((paused.attempt, paused.error), (1, Some(passing())));

    let (job, lease) = db.running_job().await;
    pause(&db, job.id).await;
    assert_eq!(db.store.fail(lease, &passing(), false).await.unwrap(), JobState::Failed, "no attempt would help");

    let (job, lease) = db.running_job().await;
    db.set(job.id, "max_attempts = attempt").await;
    pause(&db, job.id).await;
    assert_eq!(db.store.fail(lease, &passing(), true).await.unwrap(), JobState::Failed, "it was the last attempt");
    assert_eq!(db.read(job.id).await.pause_requested_at, None);
}

#[tokio::test]
async fn a_job_whose_worker_was_lost_under_a_request_is_paused() {
    let db = TestDatabase::new().await;
    let (job, _) = db.running_job().await;
    pause(&db, job.id).await;
    db.expire(job.id).await;
    assert_eq!(db.store.reap(10).await.unwrap(), [(job.id, JobState::Paused)]);
    let paused = db.read(job.id).await;
    assert_eq!((paused.pause_reason, paused.lost_count), (Some(PauseReason::User), 1));

    let (job, _) = db.running_job().await;
    db.set(job.id, "max_attempts = attempt").await;
    pause(&db, job.id).await;
    db.expire(job.id).await;
    assert_eq!(db.store.reap(10).await.unwrap(), [(job.id, JobState::Failed)]);
}

#[tokio::test]
async fn a_cancel_and_a_finish_beat_a_pause() {
    let db = TestDatabase::new().await;
    let (job, lease) = db.running_job().await;
    pause(&db, job.id).await;
    let cancelled = db.store.cancel_job(Store::default_project(), job.id).await.unwrap().unwrap();
    assert!(cancelled.pause_requested_at.is_none() && cancelled.cancel_requested_at.is_some());
    assert_eq!(pause(&db, job.id).await.pause_requested_at, None, "it is on its way to its end");
    assert_eq!(db.store.beat(&[lease], &long_terms()).await.unwrap()[0].requested, Some(Request::Cancel));
    assert_eq!(db.store.release(lease).await.unwrap(), JobState::Cancelled);

    let (job, lease) = db.running_job().await;
    pause(&db, job.id).await;
    db.store.finish(lease, &json!({})).await.unwrap();
    let done = db.read(job.id).await;
    assert_eq!((done.state, done.pause_requested_at), (JobState::Succeeded, None));
}

#[tokio::test]
async fn only_a_running_job_can_have_a_request_to_pause() {
    let db = TestDatabase::new().await;
    let job = db.job().await;
    let statement = "update jobs set pause_requested_at = now() where id = $1";
    let error = sqlx::query(statement).bind(job.id.0).execute(&db.pool).await.unwrap_err();
    assert!(error.to_string().contains("jobs_pause_request_of_a_running_job"), "{error}");
}

#[tokio::test]
async fn a_resumed_job_has_the_place_that_it_had() {
    let db = TestDatabase::new().await;
    let (first, second) = (db.job().await, db.job().await);
    pause(&db, first.id).await;
    assert_eq!(place(&db, second.id).await, 1);
    resume(&db, first.id).await;
    assert_eq!(place(&db, first.id).await, 1);
    // One that waits for its next attempt need not wait any longer.
    let (job, lease) = db.claim().await.unwrap();
    db.store.fail(lease, &passing(), true).await.unwrap();
    pause(&db, job.id).await;
    resume(&db, job.id).await;
    let claimed = [db.claim().await.unwrap().0.id, db.claim().await.unwrap().0.id];
    assert_eq!(claimed, [second.id, job.id]);
}

#[tokio::test]
async fn a_budget_for_a_job_that_somebody_else_has_resumed_is_not_dropped_in_silence() {
    let db = TestDatabase::new().await;
    let job = db.job().await;
    pause(&db, job.id).await;
    let resume_with = async |max_tokens| {
        let budget = Budget { max_tokens: Some(max_tokens), max_usd: None };
        db.store.resume_job(Store::default_project(), job.id, Some(&budget)).await.unwrap().unwrap()
    };
    let tokens = async || match db.read(job.id).await.spec {
        JobSpec::Annotation(spec) => spec.budget.and_then(|budget| budget.max_tokens),
        other => panic!("{other:?}"),
    };
    assert!(matches!(resume_with(10).await, Resumed::Job(resumed) if resumed.state == JobState::Queued));
    assert_eq!(resume_with(20).await, Resumed::NotPaused(JobState::Queued));
    db.claim().await.unwrap();
    pause(&db, job.id).await;
    assert_eq!(resume_with(30).await, Resumed::NotPaused(JobState::Running));
    assert!(db.read(job.id).await.pause_requested_at.is_some(), "the pause is not withdrawn either");
    db.store.cancel_job(Store::default_project(), job.id).await.unwrap();
    assert_eq!(tokens().await, Some(10));
}

#[tokio::test]
async fn no_job_of_another_project_is_paused_resumed_or_retried() {
    let db = TestDatabase::new().await;
    let job = db.job().await;
    let stranger = stepwise::domain::ProjectId(job.id.0);
    assert_eq!(db.store.pause_job(stranger, job.id).await.unwrap(), None);
    assert_eq!(db.store.resume_job(stranger, job.id, None).await.unwrap(), None);
    assert_eq!(db.store.retry_job(stranger, job.id).await.unwrap(), None);
    assert_eq!(db.read(job.id).await.state, JobState::Queued);
}

#[tokio::test]
async fn a_retried_job_has_its_losses_forgiven() {
    let db = TestDatabase::new().await;
    let (job, _) = db.running_job().await;
    db.set(job.id, "lost_count = 2, progress_step = 7, progress_total = 9, progress_at = now()").await;
    db.expire(job.id).await;
    assert_eq!(db.store.reap(10).await.unwrap(), [(job.id, JobState::Failed)]);
    let Some(Retried::Job(retried)) = db.store.retry_job(Store::default_project(), job.id).await.unwrap() else {
        panic!("it was refused")
    };
    assert_eq!((retried.state, retried.lost_count, retried.attempt), (JobState::Queued, 0, 0));
    assert_eq!(db.claim().await.unwrap().0.id, job.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_retry_and_the_deletion_of_its_file_exactly_one_succeeds() {
    let db = TestDatabase::new().await;
    let project = Store::default_project();
    for _ in 0..30 {
        let file = db.file().await;
        let job = db.store.create_job(&new_job(annotation_of(file.id))).await.unwrap();
        db.store.cancel_job(project, job.id).await.unwrap();
        let (retried, deleted) =
            tokio::join!(db.store.retry_job(project, job.id), db.store.delete_file(project, file.id));
        match (retried.unwrap().unwrap(), deleted.unwrap()) {
            (Retried::Job(job), DeletedFile::InUse(reader)) => {
                assert_eq!((job.state, job.id), (JobState::Queued, reader));
                db.store.cancel_job(project, job.id).await.unwrap();
            }
            (Retried::FileDeleted(gone), DeletedFile::Deleted(_)) => assert_eq!(gone, file.id),
            other => panic!("{other:?}"),
        }
    }
}
