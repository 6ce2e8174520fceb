//! Cancelling in every state, and dependencies.

use serde_json::json;
use stepwise::{
    domain::{JobError, JobId, JobState, TrainingSource},
    store::{Request, Store, StoreError},
};

use crate::support::{
    database::TestDatabase,
    seed::{annotation_of, distillation_of, long_terms, new_file, new_job, new_model},
};

async fn cancel(db: &TestDatabase, id: JobId) -> stepwise::domain::Job {
    db.store.cancel_job(Store::default_project(), id).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_at_once_and_once() {
    let db = TestDatabase::new().await;
    let job = db.job().await;
    let first = cancel(&db, job.id).await;
    assert_eq!(first.state, JobState::Cancelled);
    assert!(first.finished_at.is_some() && first.cancel_requested_at.is_some());
    assert_eq!(cancel(&db, job.id).await, first);
    assert_eq!(db.event_codes(job.id).await, ["queued", "cancelled"]);
    assert!(db.claim().await.is_none());
}

#[tokio::test]
async fn a_paused_job_is_cancelled_at_once() {
    let db = TestDatabase::new().await;
    let job = db.job().await;
    db.set(job.id, "state = 'paused', pause_reason = 'user'").await;
    assert_eq!(cancel(&db, job.id).await.state, JobState::Cancelled);
}

#[tokio::test]
async fn a_running_job_is_asked_and_its_worker_acknowledges() {
    let db = TestDatabase::new().await;
    let (job, lease) = db.running_job().await;
    assert!(matches!(db.store.cancelled(lease).await, Err(StoreError::LeaseLost(_))), "nobody asked");
    let asked = cancel(&db, job.id).await;
    assert_eq!(asked.state, JobState::Running);
    assert_eq!(cancel(&db, job.id).await.cancel_requested_at, asked.cancel_requested_at);
    assert!(db.store.beat(&[lease], &long_terms()).await.unwrap()[0].requested == Some(Request::Cancel));
    db.store.cancelled(lease).await.unwrap();
    assert_eq!(db.read(job.id).await.state, JobState::Cancelled);
    assert_eq!(db.event_codes(job.id).await, ["queued", "started", "cancel_requested", "cancelled"]);
}

#[tokio::test]
async fn a_terminal_job_stays_as_it_is() {
    let db = TestDatabase::new().await;
    let (job, lease) = db.running_job().await;
    db.store.finish(lease, &json!({})).await.unwrap();
    let done = db.read(job.id).await;
    assert_eq!(cancel(&db, job.id).await, done);
    let (job, lease) = db.running_job().await;
    db.store.fail(lease, &JobError::new("x", "y"), false).await.unwrap();
    assert_eq!(cancel(&db, job.id).await.state, JobState::Failed);
}

#[tokio::test]
async fn no_job_of_another_project_is_cancelled() {
    let db = TestDatabase::new().await;
    let job = db.job().await;
    let stranger = stepwise::domain::ProjectId(job.id.0);
    assert_eq!(db.store.cancel_job(stranger, job.id).await.unwrap(), None);
    assert_eq!(db.read(job.id).await.state, JobState::Queued);
}

#[tokio::test]
async fn an_asked_job_ends_cancelled_however_its_attempt_ends() {
    let db = TestDatabase::new().await;
    let (job, lease) = db.running_job().await;
    cancel(&db, job.id).await;
    assert_eq!(db.store.fail(lease, &JobError::new("x", "y"), true).await.unwrap(), JobState::Cancelled);

    let (job, lease) = db.running_job().await;
    cancel(&db, job.id).await;
    assert_eq!(db.store.release(lease).await.unwrap(), JobState::Cancelled);

    let (job, _) = db.running_job().await;
    cancel(&db, job.id).await;
    db.expire(job.id).await;
    assert_eq!(db.store.reap(10).await.unwrap(), [(job.id, JobState::Cancelled)]);
}

#[tokio::test]
async fn a_worker_that_ignores_a_cancel_for_a_minute_loses_the_job() {
    let db = TestDatabase::new().await;
    let (job, lease) = db.running_job().await;
    cancel(&db, job.id).await;
    assert_eq!(db.store.reap(10).await.unwrap(), []);
    db.set(job.id, "cancel_requested_at = cancel_requested_at - interval '61 seconds'").await;
    assert_eq!(db.store.reap(10).await.unwrap(), [(job.id, JobState::Cancelled)]);
    assert!(db.read(job.id).await.lease_epoch > lease.epoch);
    assert!(matches!(db.store.finish(lease, &json!({})).await, Err(StoreError::LeaseLost(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_finish_a_cancel_and_a_reap_exactly_one_decides() {
    let db = TestDatabase::new().await;
    for _ in 0..30 {
        let (job, lease) = db.running_job().await;
        cancel(&db, job.id).await;
        db.expire(job.id).await;
        let result = json!({});
        let (finished, acknowledged, reaped) =
            tokio::join!(db.store.finish(lease, &result), db.store.cancelled(lease), db.store.reap(10));
        let winners = [finished.is_ok(), acknowledged.is_ok(), !reaped.unwrap().is_empty()];
        assert_eq!(winners.iter().filter(|won| **won).count(), 1, "{winners:?}");
        let wanted = if winners[0] { JobState::Succeeded } else { JobState::Cancelled };
        assert_eq!(db.read(job.id).await.state, wanted);
        assert_eq!(db.event_codes(job.id).await.len(), 4);
    }
}

#[tokio::test]
async fn a_job_waits_for_those_it_depends_on() {
    let db = TestDatabase::new().await;
    let parent = db.job().await;
    let child = new_job(distillation_of(TrainingSource::AnnotationJob(parent.id)));
    let child = db.store.create_job(&child).await.unwrap();
    assert_eq!(child.depends_on, [parent.id]);
    let (first, lease) = db.claim().await.unwrap();
    assert_eq!(first.id, parent.id);
    assert!(db.claim().await.is_none());
    let (output, rejections) = (new_file(), new_file());
    db.store.finish_with_files(lease, &json!({}), &[&output, &rejections]).await.unwrap();
    // What it will read cannot be deleted under it.
    let deleted = db.store.delete_file(Store::default_project(), output.id).await.unwrap();
    assert_eq!(deleted, stepwise::store::DeletedFile::InUse(child.id));
    assert_eq!(db.claim().await.unwrap().0.id, child.id);
}

#[tokio::test]
async fn a_failed_or_cancelled_parent_fails_all_that_depend_on_it() {
    let db = TestDatabase::new().await;
    let file = db.file().await;
    let parent = db.job().await;
    let child = db.store.create_job(&new_job(distillation_of(TrainingSource::AnnotationJob(parent.id)))).await.unwrap();
    let mut grandchild = new_job(annotation_of(file.id));
    grandchild.depends_on = vec![child.id];
    let grandchild = db.store.create_job(&grandchild).await.unwrap();
    assert_eq!(db.store.fail_orphans().await.unwrap(), []);
    cancel(&db, parent.id).await;
    assert_eq!(db.store.fail_orphans().await.unwrap(), [child.id, grandchild.id]);
    assert_eq!(db.store.fail_orphans().await.unwrap(), []);
    let error = db.read(child.id).await.error.unwrap();
    assert_eq!(error.code, "dependency_failed");
    assert_eq!(error.message, format!("{}, which it depends on, was cancelled", parent.id));
    let error = db.read(grandchild.id).await.error.unwrap();
    assert_eq!(error.message, format!("{}, which it depends on, failed", child.id));
}

#[tokio::test]
async fn a_job_cannot_name_what_is_not_there() {
    let db = TestDatabase::new().await;
    let ghost = new_file().id;
    let error = db.store.create_job(&new_job(annotation_of(ghost))).await.unwrap_err();
    assert_eq!(error.to_string(), format!("file {ghost} does not exist"));
    let file = db.file().await;
    let mut job = new_job(annotation_of(file.id));
    job.depends_on = vec![JobId(ghost.0)];
    let error = db.store.create_job(&job).await.unwrap_err();
    assert_eq!(error.to_string(), format!("job {} does not exist", JobId(ghost.0)));
    assert!(db.claim().await.is_none(), "nothing was left behind");
}

#[tokio::test]
async fn a_distillation_registers_its_model_under_a_free_name() {
    let db = TestDatabase::new().await;
    let file = db.file().await;
    let mut names = Vec::new();
    for _ in 0..3 {
        let job = new_job(distillation_of(TrainingSource::File(file.id)));
        let job = db.store.create_job(&job).await.unwrap();
        let (_, lease) = db.claim().await.unwrap();
        let result = json!({"model": "returns", "steps": 7});
        let model =
            db.store.finish_distillation(lease, &result, &new_model("returns", job.id), &[], &[]).await.unwrap();
        assert_eq!(db.read(job.id).await.result, Some(json!({"model": model.name, "steps": 7})));
        assert_eq!(db.store.model_of_job(Store::default_project(), job.id).await.unwrap().as_ref(), Some(&model));
        names.push(model.name);
    }
    assert_eq!(names, ["returns", "returns-2", "returns-3"]);
}
