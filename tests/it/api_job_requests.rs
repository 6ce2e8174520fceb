//! Cancel, pause, resume and retry over HTTP, in every state that a job can be in.

use serde_json::{Value, json};
use stepwise::{
    clock::Clock,
    domain::{JobError, JobId, JobKind, Lease, LeaseTerms, WorkerId},
    store::Store,
};

use crate::support::app::{Answer, TestApp};

/// Where a job stands before it is asked.
#[derive(Debug, Clone, Copy)]
enum Start {
    Queued,
    Running,
    Pausing,
    Cancelling,
    Paused,
    Succeeded,
    Failed,
    Cancelled,
}

/// State or code of the answer; whether a pause and a cancel are pending; the event that the first call writes.
type Wanted = (u16, &'static str, [bool; 2], Option<&'static str>);

const NONE: [bool; 2] = [false, false];
const PAUSE: [bool; 2] = [true, false];
const CANCEL: [bool; 2] = [false, true];

const TABLE: &[(Start, &str, Wanted)] = &[
    (Start::Queued, "pause", (200, "paused", NONE, Some("paused"))),
    (Start::Queued, "resume", (200, "queued", NONE, None)),
    (Start::Queued, "retry", (200, "queued", NONE, None)),
    (Start::Queued, "cancel", (200, "cancelled", CANCEL, Some("cancelled"))),
    (Start::Running, "pause", (200, "running", PAUSE, Some("pause_requested"))),
    (Start::Running, "resume", (200, "running", NONE, None)),
    (Start::Running, "retry", (200, "running", NONE, None)),
    (Start::Running, "cancel", (200, "running", CANCEL, Some("cancel_requested"))),
    (Start::Pausing, "pause", (200, "running", PAUSE, None)),
    (Start::Pausing, "resume", (200, "running", NONE, Some("pause_withdrawn"))),
    (Start::Pausing, "retry", (200, "running", PAUSE, None)),
    (Start::Pausing, "cancel", (200, "running", CANCEL, Some("cancel_requested"))),
    (Start::Cancelling, "pause", (409, "cancel_requested", CANCEL, None)),
    (Start::Cancelling, "resume", (200, "running", CANCEL, None)),
    (Start::Cancelling, "retry", (200, "running", CANCEL, None)),
    (Start::Cancelling, "cancel", (200, "running", CANCEL, None)),
    (Start::Paused, "pause", (200, "paused", NONE, None)),
    (Start::Paused, "resume", (200, "queued", NONE, Some("queued"))),
    (Start::Paused, "retry", (409, "job_is_paused", NONE, None)),
    (Start::Paused, "cancel", (200, "cancelled", CANCEL, Some("cancelled"))),
    (Start::Succeeded, "pause", (409, "job_is_over", NONE, None)),
    (Start::Succeeded, "resume", (409, "job_is_over", NONE, None)),
    (Start::Succeeded, "retry", (409, "job_is_over", NONE, None)),
    (Start::Succeeded, "cancel", (200, "succeeded", NONE, None)),
    (Start::Failed, "pause", (409, "job_is_over", NONE, None)),
    (Start::Failed, "resume", (409, "job_is_over", NONE, None)),
    (Start::Failed, "retry", (200, "queued", NONE, Some("queued"))),
    (Start::Failed, "cancel", (200, "failed", NONE, None)),
    (Start::Cancelled, "pause", (409, "job_is_over", CANCEL, None)),
    (Start::Cancelled, "resume", (409, "job_is_over", CANCEL, None)),
    (Start::Cancelled, "retry", (200, "queued", NONE, Some("queued"))),
    (Start::Cancelled, "cancel", (200, "cancelled", CANCEL, None)),
];

async fn submit(app: &TestApp) -> String {
    let file = app.file(&[json!({"input": "a", "label": "refund"})]).await;
    let answer = app.post("/v1/annotation-jobs", json!({"file": file, "teacher": "scripted"})).await;
    assert_eq!(answer.status, 201, "{:#}", answer.body);
    answer.id()
}

/// Claims the job, which is the only one in the queue.
async fn claim(app: &TestApp, id: &str) -> Lease {
    let worker = WorkerId(Clock::system().new_id());
    let (job, lease) = app.store.claim(worker, &JobKind::ALL, &LeaseTerms::default()).await.unwrap().unwrap();
    assert_eq!(job.id.to_string(), id);
    lease
}

async fn fail(app: &TestApp, lease: Lease) {
    app.store.fail(lease, &JobError::new("training_process_died", "it broke"), false).await.unwrap();
}

/// A job that stands there.
async fn job_at(app: &TestApp, start: Start) -> String {
    let id = submit(app).await;
    let (project, job): (_, JobId) = (Store::default_project(), id.parse().unwrap());
    match start {
        Start::Queued => {}
        Start::Paused => drop(app.store.pause_job(project, job).await.unwrap()),
        Start::Cancelled => drop(app.store.cancel_job(project, job).await.unwrap()),
        Start::Running => drop(claim(app, &id).await),
        Start::Pausing => {
            claim(app, &id).await;
            app.store.pause_job(project, job).await.unwrap();
        }
        Start::Cancelling => {
            claim(app, &id).await;
            app.store.cancel_job(project, job).await.unwrap();
        }
        Start::Succeeded => {
            let lease = claim(app, &id).await;
            app.store.finish(lease, &json!({})).await.unwrap();
        }
        Start::Failed => {
            let lease = claim(app, &id).await;
            fail(app, lease).await;
        }
    }
    id
}

async fn ask(app: &TestApp, id: &str, action: &str) -> Answer {
    app.request(reqwest::Method::POST, &format!("/v1/jobs/{id}/{action}"), |request| request).await
}

async fn event_codes(app: &TestApp, id: &str) -> Vec<String> {
    let events = app.get(&format!("/v1/jobs/{id}/events")).await.body;
    events["data"].as_array().unwrap().iter().map(|event| event["code"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_request_makes_sense_in_every_state_and_may_be_repeated() {
    let app = TestApp::start().await;
    for &(start, action, (status, word, [pause, cancel], event)) in TABLE {
        let case = format!("{action} when {start:?}");
        let id = job_at(&app, start).await;
        let (before, events) = (app.get(&format!("/v1/jobs/{id}")).await.body, event_codes(&app, &id).await);
        for call in ["first", "second"] {
            let answer = ask(&app, &id, action).await;
            assert_eq!(answer.status, status, "{case}, {call} call: {:#}", answer.body);
            let job = app.get(&format!("/v1/jobs/{id}")).await.body;
            if status == 409 {
                assert_eq!(answer.code(), word, "{case}");
                assert!(answer.detail().contains(&id) && answer.detail().contains(';'), "{case}: {}", answer.detail());
                assert_eq!(answer.headers["x-should-retry"], "false", "{case}");
                assert_eq!(job, before, "{case}: a refusal changes nothing");
            } else {
                assert_eq!(answer.body["state"], word, "{case}, {call} call");
                assert_eq!(job, answer.body, "{case}: the answer is the job as it stands");
            }
            let requests = (&job["pause_requested"], &job["cancel_requested"]);
            assert_eq!(requests, (&json!(pause), &json!(cancel)), "{case}, {call} call");
        }
        let written = event_codes(&app, &id).await.split_off(events.len());
        assert_eq!(written, Vec::from_iter(event), "{case}: one event, and none for the repetition");
        // Out of the queue, so that the next case claims its own job.
        app.store.cancel_job(Store::default_project(), id.parse().unwrap()).await.unwrap();
    }
    assert_eq!(TABLE.len(), 8 * 4);
}

#[tokio::test]
async fn a_request_about_no_job_is_a_404() {
    let app = TestApp::start().await;
    for action in ["pause", "resume", "retry", "cancel"] {
        let answer = ask(&app, "job-00000000000000000000000000000000", action).await;
        assert_eq!((answer.status, answer.code()), (404, "not_found"), "{action}");
    }
}

#[tokio::test]
async fn a_retry_begins_with_all_attempts_and_without_the_error() {
    let app = TestApp::start().await;
    let id = job_at(&app, Start::Failed).await;
    let failed = app.get(&format!("/v1/jobs/{id}")).await.body;
    assert_eq!((&failed["attempt"], &failed["error"]["code"]), (&json!(1), &json!("training_process_died")));
    let job = ask(&app, &id, "retry").await.body;
    assert_eq!(
        (&job["attempt"], &job["error"], &job["finished_at"], &job["terminal"]),
        (&json!(0), &Value::Null, &Value::Null, &json!(false))
    );
    claim(&app, &id).await;
}

#[tokio::test]
async fn a_retry_is_refused_when_a_file_that_the_job_reads_was_deleted() {
    let app = TestApp::start().await;
    let id = job_at(&app, Start::Failed).await;
    let file = app.get(&format!("/v1/jobs/{id}")).await.body["spec"]["file"].as_str().unwrap().to_owned();
    assert_eq!(app.delete(&format!("/v1/files/{file}")).await.status, 200);
    let answer = ask(&app, &id, "retry").await;
    assert_eq!((answer.status, answer.code()), (409, "file_deleted"));
    assert!(answer.detail().contains(&file), "{}", answer.detail());
    assert_eq!(app.get(&format!("/v1/jobs/{id}")).await.body["state"], "failed");
}

#[tokio::test]
async fn a_retry_waits_for_the_retry_of_the_job_it_depends_on() {
    let app = TestApp::start().await;
    let parent = submit(&app).await;
    let child = json!({
        "training": {"annotation_job": parent}, "student": {"from_scratch": {}}, "task": "returns",
    });
    let child = app.post("/v1/distillation-jobs", child).await.id();
    let lease = claim(&app, &parent).await;
    fail(&app, lease).await;
    app.store.fail_orphans().await.unwrap();
    let answer = ask(&app, &child, "retry").await;
    assert_eq!((answer.status, answer.code()), (409, "dependency_failed"));
    assert!(answer.detail().contains(&parent), "{}", answer.detail());

    assert_eq!(ask(&app, &parent, "retry").await.status, 200);
    let retried = ask(&app, &child, "retry").await;
    assert_eq!((retried.status, &retried.body["state"]), (200, &json!("queued")), "{:#}", retried.body);
    assert!(app.store.fail_orphans().await.unwrap().is_empty());
}
