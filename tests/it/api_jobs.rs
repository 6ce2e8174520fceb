//! Jobs as clients see them: submitted, listed, cancelled, and what they leave.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stepwise::{
    clock::Clock,
    domain::{Annotation, AnnotationStatus, JobKind, Lease, LeaseTerms, Progress, WorkerId},
};

use crate::support::{
    app::{Answer, TestApp},
    seed::settle,
};

async fn annotation_job(app: &TestApp) -> String {
    let file = app.file(&[json!({"input": "a", "label": "refund"})]).await;
    let answer = app.post("/v1/annotation-jobs", json!({"file": file, "teacher": "scripted"})).await;
    assert_eq!(answer.status, 201, "{:#}", answer.body);
    answer.id()
}

async fn claim(app: &TestApp) -> Lease {
    let worker = WorkerId(Clock::system().new_id());
    app.store.claim(worker, &JobKind::ALL, &LeaseTerms::default()).await.unwrap().unwrap().1
}

fn field<'a>(answer: &'a Answer, name: &str) -> Vec<&'a Value> {
    answer.body["data"].as_array().unwrap().iter().map(|item| &item[name]).collect()
}

#[tokio::test]
async fn a_submitted_job_is_queued_with_every_default_filled_in() {
    let app = TestApp::start().await;
    let file = app.file(&[json!({"input": "a"})]).await;
    let request =
        json!({"file": file, "teacher": "scripted", "task": "esnli", "priority": 3, "metadata": {"team": "nlp"}});
    let answer = app.post("/v1/annotation-jobs", request).await;
    assert_eq!(answer.status, 201, "{:#}", answer.body);
    assert_eq!(answer.headers["location"].to_str().unwrap(), format!("/v1/jobs/{}", answer.id()));
    let job = app.get(&format!("/v1/jobs/{}", answer.id())).await.body;
    assert_eq!(job, answer.body);
    assert_eq!((&job["object"], &job["kind"], &job["state"]), (&json!("job"), &json!("annotation"), &json!("queued")));
    assert_eq!(
        (&job["terminal"], &job["queue"], &job["progress"]),
        (&json!(false), &json!({"position": 1, "depth": 1, "waits_for": []}), &json!(null))
    );
    assert_eq!((&job["priority"], &job["metadata"]), (&json!(3), &json!({"team": "nlp"})));
    let spec = &job["spec"];
    assert_eq!(
        (&spec["kind"], &spec["file"], &spec["task"]["name"]),
        (&json!("annotation"), &json!(file), &json!("esnli"))
    );
    assert_eq!((&spec["temperature"], &spec["max_examples"]), (&json!(0.0), &json!(null)));
}

#[tokio::test]
async fn lists_filter_by_kind_and_state_and_page() {
    let app = TestApp::start().await;
    let (first, second) = (annotation_job(&app).await, annotation_job(&app).await);
    app.post(&format!("/v1/jobs/{first}/cancel"), json!({})).await;
    assert_eq!(field(&app.get("/v1/jobs").await, "id"), [second.as_str(), first.as_str()]);
    assert_eq!(field(&app.get("/v1/jobs?state=cancelled").await, "id"), [first.as_str()]);
    assert_eq!(field(&app.get("/v1/jobs?kind=annotation&state=queued").await, "id"), [second.as_str()]);
    assert!(field(&app.get("/v1/jobs?kind=distillation").await, "id").is_empty());
    let page = app.get("/v1/jobs?limit=1").await;
    assert_eq!((field(&page, "id"), &page.body["has_more"]), (vec![&json!(second)], &json!(true)));
    assert_eq!(field(&app.get(&format!("/v1/jobs?after={second}")).await, "id"), [first.as_str()]);
    for (query, pointer, remedy) in [
        ("state=done", "#/state", "queued, running, paused, succeeded"),
        ("limit=-1", "#/limit", "send a whole number"),
        ("limit=99999999999", "#/limit", "too large"),
    ] {
        let answer = app.get(&format!("/v1/jobs?{query}")).await;
        let detail = answer.refused(400, "invalid_value", pointer);
        assert!(detail.contains(remedy), "{query}: {detail}");
    }
    app.get("/v1/jobs?kind=training").await.refused(400, "invalid_value", "#/kind");
}

#[tokio::test]
async fn lists_filter_by_metadata() {
    let app = TestApp::start().await;
    let file = app.file(&[json!({"input": "a"})]).await;
    let submit = async |metadata: Value| {
        let request = json!({"file": file, "teacher": "scripted", "metadata": metadata});
        app.post("/v1/annotation-jobs", request).await.id()
    };
    let both = submit(json!({"team": "nlp", "run one": "a/b"})).await;
    let one = submit(json!({"team": "nlp"})).await;
    let none = submit(json!({})).await;
    assert_eq!(field(&app.get("/v1/jobs?metadata[team]=nlp").await, "id"), [one.as_str(), both.as_str()]);
    let both_keys = "/v1/jobs?metadata%5Bteam%5D=nlp&metadata%5Brun%20one%5D=a%2Fb&kind=annotation";
    assert_eq!(field(&app.get(both_keys).await, "id"), [both.as_str()]);
    assert!(field(&app.get("/v1/jobs?metadata[team]=vision").await, "id").is_empty());
    assert_eq!(field(&app.get("/v1/jobs?metadata=null").await, "id"), [none.as_str()]);
    app.get("/v1/jobs?metadata=nlp").await.refused(400, "invalid_value", "#/metadata");
    app.get("/v1/jobs?metadata[a]=1&metadata[a]=2").await.refused(400, "invalid_value", "#/metadata[a]");
    app.get("/v1/jobs?labels[a]=1").await.refused(400, "unknown_parameter", "#/labels");
}

#[tokio::test]
async fn a_job_in_the_queue_says_whom_it_waits_for_and_who_is_ahead() {
    let app = TestApp::start().await;
    let first = annotation_job(&app).await;
    let file = app.file(&[json!({"input": "a"})]).await;
    let request = json!({"file": file, "teacher": "scripted", "depends_on": [first]});
    let waiting = app.post("/v1/annotation-jobs", request).await;
    assert_eq!(waiting.body["queue"]["waits_for"], json!([first]), "{:#}", waiting.body);
    // It holds up nobody while it waits, so the next one stands behind the first alone.
    let third = annotation_job(&app).await;
    let queue = &app.get(&format!("/v1/jobs/{third}")).await.body["queue"];
    assert_eq!(*queue, json!({"position": 2, "depth": 2, "waits_for": []}));
}

#[tokio::test]
async fn cancelling_twice_is_the_same_as_once() {
    let app = TestApp::start().await;
    let id = annotation_job(&app).await;
    let path = format!("/v1/jobs/{id}/cancel");
    for _ in 0..2 {
        let answer = app.request(reqwest::Method::POST, &path, |request| request).await;
        assert_eq!(
            (answer.status, &answer.body["state"], &answer.body["terminal"]),
            (200, &json!("cancelled"), &json!(true))
        );
    }
    let missing = app.post("/v1/jobs/job-00000000000000000000000000000000/cancel", json!({})).await;
    assert_eq!((missing.status, missing.code()), (404, "not_found"));
}

#[tokio::test]
async fn a_running_job_shows_its_progress_and_that_a_cancel_was_asked_for() {
    let app = TestApp::start().await;
    let id = annotation_job(&app).await;
    let lease = claim(&app).await;
    app.store.progress(lease, Progress { step: 1, total: 4 }).await.unwrap();
    let job = app.get(&format!("/v1/jobs/{id}")).await.body;
    assert_eq!((&job["state"], &job["progress"]["percent"]), (&json!("running"), &json!(25.0)));
    assert!(job["progress"]["seconds_remaining"].is_u64() && job["started_at"].is_u64() && job["queue"].is_null());
    let job = app.post(&format!("/v1/jobs/{id}/cancel"), json!({})).await.body;
    assert_eq!(
        (&job["state"], &job["cancel_requested"], &job["terminal"]),
        (&json!("running"), &json!(true), &json!(false))
    );
}

#[tokio::test]
async fn the_time_left_is_told_by_the_running_attempt_and_not_by_the_pauses_before_it() {
    let app = TestApp::start().await;
    let id = annotation_job(&app).await;
    let path = format!("/v1/jobs/{id}");
    let lease = claim(&app).await;
    app.store.progress(lease, Progress { step: 50, total: 100 }).await.unwrap();
    app.store.release(lease).await.unwrap();
    // As if it had stood still for a day.
    sqlx::query(
        "update jobs set started_at = started_at - interval '1 day', created_at = created_at - interval '1 day'",
    )
    .execute(app.pool())
    .await
    .unwrap();
    let lease = claim(&app).await;
    let begun = app.get(&path).await.body;
    assert!(begun["progress"]["seconds_remaining"].is_null(), "{begun:#}");
    app.store.progress(lease, Progress { step: 75, total: 100 }).await.unwrap();
    sqlx::query("update jobs set pace_at = progress_at - interval '10 seconds'").execute(app.pool()).await.unwrap();
    assert_eq!(app.get(&path).await.body["progress"]["seconds_remaining"], json!(10));
}

#[tokio::test]
async fn events_metrics_and_annotations_are_lists_in_ascending_order() {
    let app = TestApp::start().await;
    let id = annotation_job(&app).await;
    let lease = claim(&app).await;
    for step in [10, 20] {
        let values = BTreeMap::from([("loss".to_owned(), 1.5), ("learning_rate".to_owned(), 0.1)]);
        app.store.append_metrics(lease, step, &values).await.unwrap();
    }
    for (index, status) in [(0, AnnotationStatus::Valid), (1, AnnotationStatus::Refused)] {
        settle(&app.store, lease, &annotation(index, status)).await.unwrap();
    }
    let events = app.get(&format!("/v1/jobs/{id}/events")).await;
    assert!(field(&events, "code").len() >= 2, "{:#}", events.body);
    let after = app.get(&format!("/v1/jobs/{id}/events?after={}", events.body["data"][0]["id"])).await;
    assert_eq!(field(&after, "id"), field(&events, "id")[1..]);
    let losses = app.get(&format!("/v1/jobs/{id}/metrics?name=loss")).await;
    assert_eq!(
        (field(&losses, "step"), field(&losses, "value")),
        (vec![&json!(10), &json!(20)], vec![&json!(1.5), &json!(1.5)])
    );
    let rest = app.get(&format!("/v1/jobs/{id}/metrics?after={}", losses.body["data"][0]["id"])).await;
    assert_eq!(field(&rest, "step"), [20, 20]);
    assert_eq!(field(&app.get(&format!("/v1/jobs/{id}/annotations")).await, "example_index"), [0, 1]);
    let refused = app.get(&format!("/v1/jobs/{id}/annotations?status=refused")).await;
    assert_eq!(field(&refused, "example_index"), [1]);
    app.get(&format!("/v1/jobs/{id}/annotations?status=bad")).await.refused(400, "invalid_value", "#/status");
    assert_eq!(app.get("/v1/jobs/job-1/events").await.status, 404);
}

fn annotation(index: i64, status: AnnotationStatus) -> Annotation {
    Annotation {
        example_index: index,
        example_id: format!("line-{}", index + 1),
        input: "a".to_owned(),
        split: None,
        label: None,
        status,
        reason: (status != AnnotationStatus::Valid).then(|| "declined".to_owned()),
        teacher_label: (status == AnnotationStatus::Valid).then(|| "refund".to_owned()),
        rationale: (status == AnnotationStatus::Valid).then(|| "because".to_owned()),
        raw_output: Some("text".to_owned()),
        input_tokens: 5,
        output_tokens: 2,
        latency_ms: 1,
        agreement: (status == AnnotationStatus::Valid).then_some(1.0),
        ..Annotation::default()
    }
}
