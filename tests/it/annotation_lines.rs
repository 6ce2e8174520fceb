//! An annotation's answers as JSON lines: in every state, as far as they are there, and never more at once than the client
//! takes.

use futures::StreamExt;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use stepwise::domain::{JobId, JobKind};

use crate::support::{
    answers::{settle, settle_long},
    app::TestApp,
    seed::{long_terms, new_worker},
    service::until,
};

const JSON_LINES: &str = "application/jsonl";

async fn running_job(app: &TestApp) -> JobId {
    let file = app.file(&[json!({"input": "a"})]).await;
    let id = app.post("/v1/annotation-jobs", json!({"file": file, "teacher": "scripted"})).await.id();
    app.store.claim(new_worker(), &[JobKind::Annotation], &long_terms()).await.unwrap().unwrap();
    id.parse().unwrap()
}

async fn lines(app: &TestApp, path: &str) -> Vec<Value> {
    let answer = app.request(Method::GET, path, |request| request.header("accept", JSON_LINES)).await;
    assert_eq!((answer.status, &answer.headers["content-type"]), (200, &JSON_LINES.parse().unwrap()), "{path}");
    let text = String::from_utf8(answer.bytes).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.iter().for_each(|line| app.contract.check_form("AnnotationLine", line));
    lines
}

fn ids(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn answers_come_a_line_each_while_the_job_runs() {
    let app = TestApp::start().await;
    let job = running_job(&app).await;
    let path = format!("/v1/jobs/{job}/annotations");
    assert_eq!(lines(&app, &path).await, Vec::<Value>::new());
    settle(app.pool(), job, 0, &["valid", "invalid", "refused", "failed"]).await;
    let found = lines(&app, &path).await;
    let valid = json!({"id": "line-1", "input": "question 0", "label": null, "teacher_label": "yes",
        "rationale": "It is so.", "agreement": 1.0, "samples": 1, "repaired": false, "rationalized": false,
        "status": "valid"});
    let invalid = json!({"id": "line-2", "input": "question 1", "label": null, "teacher_label": null,
        "rationale": null, "samples": 1, "repaired": false, "rationalized": false, "status": "invalid",
        "reason": "it is invalid", "raw_output": "as it came"});
    assert_eq!((found.len(), &found[0], &found[1]), (4, &valid, &invalid));

    settle(app.pool(), job, 4, &["valid", "truncated"]).await;
    assert_eq!(lines(&app, &path).await.len(), 6, "what came meanwhile is there");
    assert_eq!(ids(&lines(&app, &format!("{path}?status=invalid,failed")).await), ["line-2", "line-4"]);
    assert_eq!(ids(&lines(&app, &format!("{path}?status=valid&after=0")).await), ["line-5"]);
    // Pages are a list's: their size is not read.
    assert_eq!(lines(&app, &format!("{path}?limit=1")).await.len(), 6);
    let page = app.get(&format!("{path}?status=refused,%20truncated")).await;
    let places: Vec<_> = page.body["data"].as_array().unwrap().iter().map(|one| &one["example_index"]).collect();
    assert_eq!(places, [2, 5], "a list takes several statuses as well");
}

#[tokio::test]
async fn a_page_and_a_line_say_the_same_of_an_answer() {
    let app = TestApp::start().await;
    let job = running_job(&app).await;
    settle(app.pool(), job, 0, &["valid", "invalid"]).await;
    let more = "update annotations set split = 'test', samples = 5, agreement = 0.6, repaired = true, label = 'yes',
            rationalized = true, more_rationales = '{\"It is so, too.\"}', rationale_faults = '{empty_of_label}',
            rationale_fingerprint = 7
        where job_id = $1 and status = 'valid'";
    sqlx::query(more).bind(job.0).execute(app.pool()).await.unwrap();
    let path = format!("/v1/jobs/{job}/annotations");
    let lines = lines(&app, &path).await;
    let page = app.get(&path).await.body;
    for (line, one) in lines.iter().zip(page["data"].as_array().unwrap()) {
        // Only the page is the database's view: it has what was paid, and the place.
        let own = ["example_index", "example_id", "input_tokens", "output_tokens", "latency_ms"];
        for (name, value) in one.as_object().unwrap().iter().filter(|(name, _)| !own.contains(&name.as_str())) {
            let absent = value.is_null() || *value == json!([]);
            let said_by_status = one["status"] == "valid" && ["reason", "raw_output"].contains(&name.as_str());
            assert!(line[name] == *value || line[name].is_null() && (absent || said_by_status), "{name}: {line} {one}");
        }
        let known = |name: &String| one.get(name).is_some() || name == "id";
        assert!(line.as_object().unwrap().keys().all(known), "{line} {one}");
    }
    assert_eq!(
        (&page["data"][0]["rationale_faults"], &page["data"][0]["split"], &lines[0]["samples"]),
        (&json!(["empty_of_label"]), &json!("test"), &json!(5))
    );
    assert_eq!((&page["data"][1]["rationale_faults"], &page["data"][1]["split"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn lines_are_asked_for_by_either_of_their_names_and_a_wrong_status_is_refused() {
    let app = TestApp::start().await;
    let job = running_job(&app).await;
    settle(app.pool(), job, 0, &["valid"]).await;
    let path = format!("/v1/jobs/{job}/annotations");
    let accept = "text/html, Application/X-NDJSON;q=0.9";
    let answer = app.request(Method::GET, &path, |request| request.header("accept", accept)).await;
    assert_eq!(
        (&answer.headers["content-type"], &answer.body["id"]),
        (&"application/x-ndjson".parse().unwrap(), &json!("line-1"))
    );
    for (accept, status) in [(JSON_LINES, "valid,good"), ("*/*", "good"), (JSON_LINES, "")] {
        let path = format!("{path}?status={status}");
        let answer = app.request(Method::GET, &path, |request| request.header("accept", accept)).await;
        let detail = answer.refused(400, "invalid_value", "#/status").to_owned();
        assert!(detail.contains("truncated"), "the statuses that there are: {detail}");
    }
    let nowhere =
        app.request(Method::GET, "/v1/jobs/job-1/annotations", |request| request.header("accept", JSON_LINES));
    assert_eq!(nowhere.await.status, 404);
}

async fn open(app: &TestApp, job: JobId) -> Response {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.get(format!("http://{}/v1/jobs/{job}/annotations", app.address)).header("accept", JSON_LINES);
    request.send().await.unwrap()
}

#[tokio::test]
async fn rows_are_read_as_the_client_takes_them() {
    const ROWS: i64 = 4000;
    let app = TestApp::start().await;
    let job = running_job(&app).await;
    // 80 MB: more than the sockets between us hold.
    settle_long(app.pool(), job, ROWS, 20_000).await;
    let mut body = open(&app, job).await.bytes_stream();
    let mut text = body.next().await.unwrap().unwrap().to_vec();
    // Had they been read already, they would come all the same.
    let last = "delete from annotations where job_id = $1 and example_index >= $2";
    sqlx::query(last).bind(job.0).bind(ROWS - 500).execute(app.pool()).await.unwrap();
    while let Some(chunk) = body.next().await {
        text.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(count_lines(&text), ROWS - 500);
}

#[tokio::test]
async fn a_client_that_goes_away_or_does_not_read_holds_no_connection_to_the_database() {
    let app = TestApp::start().await;
    let job = running_job(&app).await;
    settle_long(app.pool(), job, 2000, 20_000).await;
    let mut unread = Vec::new();
    // More than the database has connections.
    for _ in 0..20 {
        let mut gone = open(&app, job).await.bytes_stream();
        gone.next().await.unwrap().unwrap();
        drop(gone);
        unread.push(open(&app, job).await);
    }
    until("all connections are idle", async || {
        let (open, idle) = app.store.pool_figures();
        (open as usize == idle).then_some(())
    })
    .await;
    assert_eq!(app.get(&format!("/v1/jobs/{job}")).await.body["state"], "running");
}

#[tokio::test]
async fn a_stream_that_has_begun_ends_whole_while_the_service_drains() {
    const ROWS: i64 = 4000;
    let app = TestApp::start().await;
    let job = running_job(&app).await;
    settle_long(app.pool(), job, ROWS, 20_000).await;
    let mut body = open(&app, job).await.bytes_stream();
    let mut lines = count_lines(&body.next().await.unwrap().unwrap());
    app.shutdown.cancel();
    while let Some(chunk) = body.next().await {
        lines += count_lines(&chunk.unwrap());
    }
    assert_eq!(lines, ROWS);
}

fn count_lines(text: &[u8]) -> i64 {
    text.iter().filter(|byte| **byte == b'\n').count() as i64
}

#[tokio::test]
async fn a_stream_that_cannot_go_on_breaks_off() {
    let (app, mut cable) = TestApp::start_on_cable().await;
    let job = running_job(&app).await;
    settle_long(app.pool(), job, 4000, 20_000).await;
    let mut body = open(&app, job).await.bytes_stream();
    body.next().await.unwrap().unwrap();
    cable.cut();
    let mut ending = Ok(());
    while let Some(chunk) = body.next().await {
        ending = chunk.map(drop);
    }
    assert!(ending.is_err(), "an early end must not look like the last line");
}
