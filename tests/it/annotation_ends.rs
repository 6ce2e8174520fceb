//! Annotations that are cancelled or fail: what they have found is in files all the same, written once, and nobody who
//! waits for them is misled.

use serde_json::{Value, json};
use stepwise::{
    domain::{FileId, Job, JobError, JobId, JobKind, JobState, TrainingSource},
    store::Store,
    worker::{reap_once, write_end_once},
};

use crate::support::{
    answers::running_annotation,
    app::TestApp,
    fleet::{Fleet, annotate},
    seed::{annotation_of, distillation_of, long_terms, new_job, new_worker},
    service::until,
    teacher::GatedTeacher,
};

async fn read(app: &TestApp, job: JobId) -> Job {
    app.store.job(Store::default_project(), job).await.unwrap().unwrap()
}

async fn set(app: &TestApp, job: JobId, assignment: &str) {
    let statement = sqlx::AssertSqlSafe(format!("update jobs set {assignment} where id = $1"));
    sqlx::query(statement).bind(job.0).execute(app.pool()).await.unwrap();
}

/// The lines of a file that a result names.
async fn lines(app: &TestApp, file: &Value) -> Vec<Value> {
    let bytes = app.get(&format!("/v1/files/{}/content", file.as_str().unwrap())).await.bytes;
    String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn codes(app: &TestApp, job: JobId) -> Vec<String> {
    let events = app.store.list_events(job, None, 100).await.unwrap();
    events.items.into_iter().map(|event| event.code).collect()
}

async fn cancel(app: &TestApp, job: JobId) {
    app.store.cancel_job(Store::default_project(), job).await.unwrap();
}

/// Every way to an end without success, and without an attempt that could write anything.
async fn end(app: &TestApp, way: &str) -> JobId {
    let lease = running_annotation(app, &["valid", "invalid", "valid"]).await;
    let (store, job) = (&app.store, lease.job_id);
    match way {
        "cancelled in the queue" => {
            store.release(lease).await.unwrap();
            cancel(app, job).await;
        }
        "cancelled in a pause" => {
            store.pause_job(Store::default_project(), job).await.unwrap();
            store.release(lease).await.unwrap();
            cancel(app, job).await;
        }
        "cancelled by its worker" => {
            cancel(app, job).await;
            store.cancelled(lease).await.unwrap();
        }
        "failed for good" => {
            store.fail(lease, &JobError::new("file_missing", "no"), false).await.map(drop).unwrap();
        }
        "failed by the reaper" => {
            set(app, job, "lease_expires_at = clock_timestamp() - interval '1 second', lost_count = 2").await;
            reap_once(&app.worker()).await.unwrap();
        }
        "its parent failed" => {
            store.release(lease).await.unwrap();
            let parent = running_job_of(app).await;
            let depends = "insert into job_dependencies (job_id, depends_on_id, project_id)
                select $1, id, project_id from jobs where id = $2";
            sqlx::query(depends).bind(job.0).bind(parent.0).execute(app.pool()).await.unwrap();
            reap_once(&app.worker()).await.unwrap();
        }
        way => panic!("{way}"),
    }
    job
}

/// A job that was cancelled.
async fn running_job_of(app: &TestApp) -> JobId {
    let file = app.file(&[json!({"input": "b"})]).await;
    let job = app.store.create_job(&new_job(annotation_of(file.parse().unwrap()))).await.unwrap().id;
    cancel(app, job).await;
    job
}

#[tokio::test]
async fn every_end_leaves_what_was_found_in_files() {
    for (way, state) in [
        ("cancelled in the queue", JobState::Cancelled),
        ("cancelled in a pause", JobState::Cancelled),
        ("cancelled by its worker", JobState::Cancelled),
        ("failed for good", JobState::Failed),
        ("failed by the reaper", JobState::Failed),
        ("its parent failed", JobState::Failed),
    ] {
        let app = TestApp::start().await;
        let job = end(&app, way).await;
        let over = read(&app, job).await;
        assert_eq!((over.state, over.result), (state, None), "{way}");

        while write_end_once(&app.worker()).await.unwrap() {}
        let body = app.get(&format!("/v1/jobs/{job}")).await.body;
        let (result, counts) = (&body["result"], &body["result"]["counts"]);
        assert_eq!(
            (&counts["total"], &counts["valid"], &counts["invalid"]),
            (&json!(3), &json!(2), &json!(1)),
            "{way}"
        );
        assert_eq!((&result["input_tokens"], &result["output_tokens"]), (&json!(21), &json!(9)), "{way}: {body:#}");
        let (output, rejections) =
            (lines(&app, &result["output_file"]).await, lines(&app, &result["rejections_file"]).await);
        assert_eq!(output.iter().map(|line| &line["id"]).collect::<Vec<_>>(), ["line-1", "line-3"], "{way}");
        assert_eq!((rejections.len(), &rejections[0]["reason"]), (1, &json!("it is invalid")), "{way}");
        assert_eq!(codes(&app, job).await.last().unwrap(), "result_written", "{way}");
        // The output is a training file like any other.
        let request = json!({"training": {"file": result["output_file"]}, "student": {"from_scratch": {}}});
        assert_eq!(app.post("/v1/distillation-jobs", request).await.status, 201, "{way}");
    }
}

#[tokio::test]
async fn an_end_without_an_answer_has_a_result_and_no_files() {
    let app = TestApp::start().await;
    let job = running_job_of(&app).await;
    assert!(write_end_once(&app.worker()).await.unwrap());
    let result = read(&app, job).await.result.unwrap();
    assert_eq!((&result["counts"]["total"], &result["output_file"]), (&json!(0), &Value::Null), "{result:#}");
    assert!(!write_end_once(&app.worker()).await.unwrap(), "once is enough");
}

#[tokio::test]
async fn a_job_that_waits_for_a_cancelled_one_fails_though_that_has_files() {
    let app = TestApp::start().await;
    let lease = running_annotation(&app, &["valid"]).await;
    let child = new_job(distillation_of(TrainingSource::AnnotationJob(lease.job_id)));
    app.store.create_job(&child).await.unwrap();
    cancel(&app, lease.job_id).await;
    app.store.cancelled(lease).await.unwrap();
    assert!(write_end_once(&app.worker()).await.unwrap());
    assert!(read(&app, lease.job_id).await.output_file().is_some());
    assert!(app.store.claim(new_worker(), &JobKind::ALL, &long_terms()).await.unwrap().is_none());
    reap_once(&app.worker()).await.unwrap();
    let child = read(&app, child.id).await;
    assert_eq!((child.state, child.error.unwrap().code.as_str()), (JobState::Failed, "dependency_failed"));
}

/// How many files a job has made, and how many artifacts lie in its folder, fingerprints left out.
async fn left(app: &TestApp, job: JobId) -> (i64, usize) {
    let count = "select count(*) from files where made_by_job_id = $1";
    let rows = sqlx::query_scalar(count).bind(job.0).fetch_one(app.pool()).await.unwrap();
    let of_job = |path: &std::path::PathBuf| path.to_string_lossy().contains(&format!("jobs/{job}/"));
    let files = app.artifact_files().into_iter().filter(of_job);
    (rows, files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).count())
}

/// Writers that all stand before their first answer, and go on together once the gate is let go.
async fn writers(app: &TestApp, job: JobId, count: usize) -> Vec<tokio::task::JoinHandle<bool>> {
    let mut writing = Vec::new();
    for number in 1..=count {
        let worker = app.worker();
        writing.push(tokio::spawn(async move { write_end_once(&worker).await.unwrap() }));
        until("the writer waits", async || {
            let waiting = "select count(*) from pg_stat_activity
                where datname = current_database() and wait_event_type = 'Lock' and query like '%-- list_annotations%'";
            let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(app.pool()).await.unwrap();
            (usize::try_from(waiting).unwrap() == number).then_some(())
        })
        .await;
        // As if it had taken longer than its claim.
        set(app, job, "end_claimed_until = clock_timestamp() - interval '1 second'").await;
    }
    writing
}

#[tokio::test]
async fn of_two_writers_one_is_heard_and_the_other_leaves_nothing() {
    let app = TestApp::start().await;
    let job = end(&app, "failed for good").await;
    let mut gate = app.pool().begin().await.unwrap();
    sqlx::query("lock table annotations in access exclusive mode").execute(&mut *gate).await.unwrap();
    let writing = writers(&app, job, 2).await;
    gate.rollback().await.unwrap();
    for writer in writing {
        assert!(writer.await.unwrap());
    }
    assert_eq!(left(&app, job).await, (2, 2));
    assert_eq!(codes(&app, job).await.iter().filter(|code| *code == "result_written").count(), 1);
}

#[tokio::test]
async fn a_claim_keeps_a_second_writer_away() {
    let app = TestApp::start().await;
    end(&app, "failed for good").await;
    assert!(app.store.claim_annotation_end(std::time::Duration::from_secs(60)).await.unwrap().is_some());
    assert!(!write_end_once(&app.worker()).await.unwrap());
}

#[tokio::test]
async fn a_retry_beats_the_files_of_the_end_that_it_takes_away() {
    let app = TestApp::start().await;
    let job = end(&app, "failed for good").await;
    let mut gate = app.pool().begin().await.unwrap();
    sqlx::query("lock table annotations in access exclusive mode").execute(&mut *gate).await.unwrap();
    let writing = writers(&app, job, 1).await;
    app.store.retry_job(Store::default_project(), job).await.unwrap();
    // Cancelled anew, it has the same epoch and the same answers, and is another end all the same.
    cancel(&app, job).await;
    gate.rollback().await.unwrap();
    for writer in writing {
        writer.await.unwrap();
    }
    assert_eq!((left(&app, job).await, read(&app, job).await.result), ((0, 0), None));
    assert!(write_end_once(&app.worker()).await.unwrap());
    assert_eq!(left(&app, job).await, (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_annotation_keeps_what_it_has_and_a_retry_buys_only_the_rest() {
    const ROWS: usize = 12;
    let (fleet, teacher) = (Fleet::begin().await, GatedTeacher::start().await);
    let (_worker, job) = annotate(&fleet, &teacher, ROWS).await;
    teacher.let_through(5);
    let answers = format!("/v1/jobs/{job}/annotations");
    until("five are settled", async || (fleet.client.lines(&answers).await.len() == 5).then_some(())).await;
    assert_eq!(fleet.client.get(&format!("/v1/jobs/{job}")).await["state"], "running");

    fleet.client.post(&format!("/v1/jobs/{job}/cancel"), &json!({})).await;
    let ended = fleet.client.until_job(&job, "has its files", |job| job["result"].is_object()).await;
    assert_eq!((&ended["state"], &ended["result"]["counts"]["total"]), (&json!("cancelled"), &json!(5)), "{ended:#}");
    // None of its answers has the form that the task wants.
    let rejections: FileId = ended["result"]["rejections_file"].as_str().unwrap().parse().unwrap();
    let before = fleet.client.lines(&format!("/v1/files/{rejections}/content")).await;
    assert_eq!(before, fleet.client.lines(&answers).await, "a file's lines are the stream's");

    teacher.let_through(ROWS);
    let retried = fleet.client.post(&format!("/v1/jobs/{job}/retry"), &json!({})).await;
    assert_eq!(retried["result"], Value::Null);
    let ended = fleet.client.until_job(&job, "succeeds", |job| job["state"] == "succeeded").await;
    assert_eq!(ended["result"]["counts"]["total"], json!(ROWS), "{ended:#}");
    assert_eq!(fleet.client.lines(&format!("/v1/files/{rejections}/content")).await, before, "the old file stays");
}
