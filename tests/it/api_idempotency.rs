//! Requests sent twice with the same `Idempotency-Key`.

use reqwest::Method;
use serde_json::{Value, json};
use stepwise::store::{KeyClaim, KeyHold, Store};
use uuid::Uuid;

use crate::support::{
    app::{Answer, TestApp},
    database::TestDatabase,
    seed::{annotation_of, new_job},
};

async fn send(app: &TestApp, path: &str, key: &str, body: &Value) -> Answer {
    app.request(Method::POST, path, |request| request.header("idempotency-key", key).json(body)).await
}

async fn jobs(app: &TestApp) -> usize {
    app.get("/v1/jobs?limit=1000").await.body["data"].as_array().unwrap().len()
}

fn replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
}

#[tokio::test]
async fn a_repeated_submission_gets_the_first_answer_and_makes_nothing_new() {
    let app = TestApp::start().await;
    let file = app.file(&[json!({"input": "a"})]).await;
    let request = json!({"file": file, "teacher": "scripted", "priority": 1});
    let first = send(&app, "/v1/annotation-jobs", "\"k-1\"", &request).await;
    assert_eq!((first.status, replayed(&first)), (201, false), "{:#}", first.body);
    app.post(&format!("/v1/jobs/{}/cancel", first.id()), json!({})).await;
    // Bare or quoted, and in whatever order its members are.
    let reordered = "{\"priority\": 1, \"teacher\": \"scripted\", \"file\": \"FILE\"}".replace("FILE", &file);
    let again = app
        .request(Method::POST, "/v1/annotation-jobs", |builder| {
            builder.header("idempotency-key", "k-1").header("content-type", "application/json").body(reordered.clone())
        })
        .await;
    assert_eq!((again.status, replayed(&again), &again.bytes), (201, true, &first.bytes));
    assert_eq!(again.headers["location"], first.headers["location"]);
    assert_eq!(jobs(&app).await, 1);
    // The key is the route's own.
    let elsewhere = send(&app, &format!("/v1/jobs/{}/cancel", first.id()), "k-1", &json!({})).await;
    assert_eq!((elsewhere.status, replayed(&elsewhere)), (200, false));
}

#[tokio::test]
async fn a_key_cannot_come_with_another_request() {
    let app = TestApp::start().await;
    let file = app.file(&[json!({"input": "a"})]).await;
    let request = json!({"file": file, "teacher": "scripted"});
    assert_eq!(send(&app, "/v1/annotation-jobs", "k", &request).await.status, 201);
    let other = json!({"file": file, "teacher": "large"});
    let refused = send(&app, "/v1/annotation-jobs", "k", &other).await;
    assert_eq!((refused.status, refused.code()), (422, "idempotency_key_reused"));
    assert_eq!(jobs(&app).await, 1);
}

#[tokio::test]
async fn a_refused_request_and_a_dry_run_do_not_use_up_their_key() {
    let app = TestApp::start().await;
    let file = app.file(&[json!({"input": "a"})]).await;
    let wrong = json!({"file": file, "teacher": "nobody"});
    send(&app, "/v1/annotation-jobs", "k", &wrong).await.refused(400, "teacher_not_found", "#/teacher");
    let request = json!({"file": file, "teacher": "scripted"});
    assert_eq!(send(&app, "/v1/annotation-jobs?dry_run=true", "k", &request).await.status, 200);
    let made = send(&app, "/v1/annotation-jobs", "k", &request).await;
    assert_eq!((made.status, replayed(&made)), (201, false));
    for bad in ["", "\u{e9}"] {
        send(&app, "/v1/annotation-jobs", bad, &request).await.refused(400, "invalid_value", "#/Idempotency-Key");
    }
}

#[tokio::test]
async fn many_at_once_make_one_job() {
    let app = TestApp::start().await;
    let file = app.file(&[json!({"input": "a"})]).await;
    let request = json!({"file": file, "teacher": "scripted"});
    let sent = (0..12).map(|_| send(&app, "/v1/annotation-jobs", "k", &request));
    let answers = futures::future::join_all(sent).await;
    assert_eq!(jobs(&app).await, 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 201 && !replayed(answer)).count(), 1);
    for answer in &answers {
        let busy =
            answer.status == 409 && answer.code() == "idempotency_key_busy" && answer.headers["retry-after"] == "1";
        assert!(busy || answer.status == 201, "{:#}", answer.body);
    }
}

#[tokio::test]
async fn an_action_is_answered_once_per_key() {
    let app = TestApp::start().await;
    let file = app.file(&[json!({"input": "a"})]).await;
    let request = json!({"file": file, "teacher": "scripted"});
    let (one, two) =
        (app.post("/v1/annotation-jobs", request.clone()).await, app.post("/v1/annotation-jobs", request).await);
    let path = |job: &Answer| format!("/v1/jobs/{}/cancel", job.id());
    let first = send(&app, &path(&one), "k", &json!({})).await;
    let again = send(&app, &path(&one), "k", &json!({})).await;
    assert_eq!((first.status, replayed(&again), first.bytes), (200, true, again.bytes));
    assert_eq!(send(&app, &path(&two), "k", &json!({})).await.status, 422);
}

#[tokio::test]
async fn an_action_is_the_same_however_its_body_is_written() {
    let app = TestApp::start().await;
    let file = app.file(&[json!({"input": "a"})]).await;
    let job = app.post("/v1/annotation-jobs", json!({"file": file, "teacher": "large"})).await.id();
    let path = format!("/v1/jobs/{job}/resume");
    let resume = async |key: &str, body: &str| {
        app.request(Method::POST, &path, |request| {
            let request = request.header("idempotency-key", key);
            if body.is_empty() {
                request
            } else {
                request.header("content-type", "application/json").body(body.to_owned())
            }
        })
        .await
    };
    app.post(&format!("/v1/jobs/{job}/pause"), json!({})).await;
    let first = resume("k", r#"{"budget": {"max_usd": 2.5, "max_tokens": 5000}}"#).await;
    let again = resume("k", r#"{ "budget" : {"max_tokens":5000,"max_usd":2.5} }"#).await;
    assert_eq!((first.status, again.status, replayed(&again), first.bytes), (200, 200, true, again.bytes));
    assert_eq!(resume("k", r#"{"budget": {"max_usd": 2.5}}"#).await.code(), "idempotency_key_reused");

    app.post(&format!("/v1/jobs/{job}/pause"), json!({})).await;
    let (first, again) = (resume("l", "").await, resume("l", " {} ").await);
    assert_eq!((first.status, again.status, replayed(&again), first.bytes), (200, 200, true, again.bytes));
}

#[tokio::test]
async fn a_repeated_upload_keeps_one_file_and_one_copy_of_its_bytes() {
    let app = TestApp::start().await;
    let upload = async |key: &str, purpose: &str, content: &str| {
        let body = format!(
            "--x\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n\
             --x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n{content}\r\n--x--\r\n"
        );
        app.request(Method::POST, "/v1/files", |request| {
            let request = request.header("idempotency-key", key);
            request.header("content-type", "multipart/form-data; boundary=x").body(body.clone())
        })
        .await
    };
    let row = "{\"input\": \"a\"}\n";
    let first = upload("k", "fine-tune", row).await;
    assert_eq!((first.status, replayed(&first)), (201, false), "{:#}", first.body);
    let stored = app.artifact_files().len();
    let again = upload("k", "fine-tune", row).await;
    assert_eq!((again.status, replayed(&again), &again.bytes), (201, true, &first.bytes));
    assert_eq!(app.artifact_files().len(), stored);
    assert_eq!(upload("k", "evals", row).await.status, 422);
    assert_eq!(upload("k", "fine-tune", "{\"input\": \"b\"}\n").await.status, 422);
    assert_eq!(app.artifact_files().len(), stored);
    assert_eq!(app.get("/v1/files").await.body["data"].as_array().unwrap().len(), 1);
}

fn hold(key: &str) -> KeyHold {
    let project_id = Store::default_project();
    let holder = Uuid::from_u128(rand::random());
    KeyHold { project_id, route: "POST /v1/annotation-jobs", key: key.to_owned(), fingerprint: "ab".repeat(32), holder }
}

#[tokio::test]
async fn a_key_whose_request_died_is_taken_over_and_the_dead_request_makes_nothing() {
    let db = TestDatabase::new().await;
    let file = db.file().await;
    let (dead, next) = (hold("k"), hold("k"));
    assert_eq!(db.store.claim_key(&dead).await.unwrap(), KeyClaim::Fresh);
    assert_eq!(db.store.claim_key(&next).await.unwrap(), KeyClaim::Busy);
    let age = "update idempotency_keys set created_at = created_at - interval '91 seconds'";
    sqlx::query(age).execute(&db.pool).await.unwrap();
    assert_eq!(db.store.claim_key(&next).await.unwrap(), KeyClaim::Fresh);
    // It was only slow, and goes on: too late.
    let mut new = new_job(annotation_of(file.id));
    new.holder = Some(dead.holder);
    let lost = db.store.create_job(&new).await.unwrap_err();
    assert!(matches!(lost, stepwise::store::StoreError::KeyLost), "{lost:?}");
    new.holder = Some(next.holder);
    let job = db.store.create_job(&new).await.unwrap();
    // The answer was never stored: whoever asks again learns what was made.
    assert_eq!(db.store.claim_key(&hold("k")).await.unwrap(), KeyClaim::Made(job.id.0));
    db.store.free_key(next.holder).await.unwrap();
    assert_eq!(db.store.claim_key(&hold("k")).await.unwrap(), KeyClaim::Made(job.id.0));
}

#[tokio::test]
async fn keys_are_forgotten_after_a_week() {
    let db = TestDatabase::new().await;
    for key in ["old", "new"] {
        assert_eq!(db.store.claim_key(&hold(key)).await.unwrap(), KeyClaim::Fresh);
    }
    let age = "update idempotency_keys set created_at = created_at - interval '8 days' where key = 'old'";
    sqlx::query(age).execute(&db.pool).await.unwrap();
    assert_eq!(db.store.forget_keys(10).await.unwrap(), 1);
    assert_eq!(db.store.claim_key(&hold("old")).await.unwrap(), KeyClaim::Fresh);
    assert_eq!(db.store.claim_key(&hold("new")).await.unwrap(), KeyClaim::Busy);
}

#[tokio::test]
async fn more_keys_than_one_statement_forgets_are_forgotten_in_one_sweep() {
    let app = TestApp::start().await;
    let many = "insert into idempotency_keys (project_id, route, key, fingerprint, holder, created_at)
        select id, 'POST /v1/files', number::text, repeat('ab', 32), gen_random_uuid(),
            clock_timestamp() - interval '8 days'
        from projects, generate_series(1, 2500) as number";
    sqlx::query(many).execute(app.pool()).await.unwrap();
    stepwise::worker::reap_once(&app.worker()).await.unwrap();
    let left: i64 = sqlx::query_scalar("select count(*) from idempotency_keys").fetch_one(app.pool()).await.unwrap();
    assert_eq!(left, 0);
}
