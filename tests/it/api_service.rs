//! What holds for every request: errors in one form, ids, probes, metrics, and a database that comes and goes.

use axum::{body::Body, http::Request};
use reqwest::Method;
use serde_json::{Value, json};
use stepwise::api::{AppState, router, serve, warm_up, warm_up_once};
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::support::{
    app::{DRAIN, MAX_UNREAD, TestApp},
    service::until,
};

#[tokio::test]
async fn an_error_serves_both_kinds_of_clients() {
    let app = TestApp::start().await;
    let id = "job-00000000000000000000000000000000";
    let answer =
        app.request(Method::GET, &format!("/v1/jobs/{id}"), |request| request.header("x-request-id", "mine-1")).await;
    let detail = format!("there is no job {id:?}");
    let expected = json!({
        "type": "urn:stepwise:error:not_found", "title": "Not found", "status": 404, "detail": detail,
        "instance": "/v1/requests/mine-1", "request_id": "mine-1", "errors": [],
        "error": {"message": detail, "type": "not_found_error", "param": null, "code": "not_found"},
    });
    assert_eq!(answer.body, expected);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
}

#[tokio::test]
async fn a_request_id_is_echoed_if_it_is_sane_and_made_otherwise() {
    let app = TestApp::start().await;
    let send = async |id: &str| {
        let answer = app.request(Method::GET, "/healthz", |request| request.header("x-request-id", id)).await;
        answer.headers["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(send("trace-7.a:b_c").await, "trace-7.a:b_c");
    for insane in ["", "a b", "<script>", &"x".repeat(101)] {
        assert!(send(insane).await.starts_with("req_"));
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let app = TestApp::start().await;
    let answer = app.get("/v1/finetunes").await;
    assert_eq!((answer.status, answer.code()), (404, "no_such_route"));
    let answer = app.request(Method::PATCH, "/v1/jobs", |request| request).await;
    assert_eq!((answer.status, answer.code()), (405, "method_not_allowed"));
    assert!(answer.headers["allow"].to_str().unwrap().contains("GET"));
}

#[tokio::test]
async fn bodies_that_are_not_json_are_refused() {
    let app = TestApp::start().await;
    let send = async |content_type: &str, body: String| {
        let request =
            |request: reqwest::RequestBuilder| request.header("content-type", content_type).body(body.clone());
        app.request(Method::POST, "/v1/annotation-jobs", request).await
    };
    let answer = send("text/plain", "{}".to_owned()).await;
    assert_eq!((answer.status, answer.code()), (415, "unsupported_media_type"));
    for body in ["", "{", "{\"file\": }"] {
        let answer = send("application/json; charset=utf-8", body.to_owned()).await;
        assert_eq!((answer.status, answer.code()), (400, "invalid_json"), "{body}: {:#}", answer.body);
    }
    let answer = send("application/json", format!("{{\"file\": \"{}\"}}", "x".repeat(1 << 20))).await;
    assert_eq!((answer.status, answer.code()), (413, "too_large"));
}

#[tokio::test]
async fn a_database_that_goes_away_is_503_and_comes_back_without_a_restart() {
    let (app, mut cable) = TestApp::start_on_cable().await;
    assert_eq!(app.get("/v1/jobs").await.status, 200);
    assert_eq!(app.get("/readyz").await.body["ready"], json!(true));
    cable.cut();
    let answer = app.get("/v1/jobs").await;
    assert_eq!((answer.status, answer.code()), (503, "unavailable"));
    assert!(answer.headers.contains_key("retry-after"));
    let upload = app.upload("{\"input\":\"a\"}\n").await;
    assert_eq!((upload.status, upload.code()), (503, "unavailable"));
    assert!(app.artifact_files().is_empty(), "the bytes of a file without a row stay");
    let ready = app.get("/readyz").await;
    assert_eq!((ready.status, &ready.body["ready"], &ready.body["inference"]), (503, &json!(false), &json!("ok")));
    assert_ne!(ready.body["database"], "ok");
    assert_eq!(app.get("/healthz").await.status, 200);
    assert_eq!(app.get("/metrics").await.status, 200);
    cable.mend();
    assert_eq!(app.get("/v1/jobs").await.status, 200);
    assert_eq!(app.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_draining_process_is_alive_but_not_ready() {
    let app = TestApp::start().await;
    app.shutdown.cancel();
    // Past the socket, which takes no new connection any more.
    let answer = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        router(app.state.clone()).oneshot(request).await.unwrap().status().as_u16()
    };
    assert_eq!((answer("/healthz").await, answer("/readyz").await), (200, 503));
}

/// The status and body of a path, asked of another process with this state.
async fn ask(state: &AppState, path: &str) -> (u16, Value) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, state.clone(), MAX_UNREAD, DRAIN));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client.get(format!("http://{address}{path}")).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_process_is_ready_when_a_forward_pass_has_gone_through_and_not_before() {
    let app = TestApp::start().await;
    let state = AppState::new(app.rooms.clone());
    let (status, body) = ask(&state, "/readyz").await;
    assert_eq!((status, &body["ready"], &body["database"]), (503, &json!(false), &json!("ok")));
    assert_eq!(body["inference"], "the first forward pass is not done yet");
    assert_eq!(ask(&state, "/v2/health/ready").await.0, 503);
    // Asking does not make it ready; the pass does.
    assert_eq!(ask(&state, "/readyz").await.0, 503);
    warm_up(state.clone()).await;
    assert_eq!((ask(&state, "/readyz").await.0, ask(&state, "/v2/health/ready").await.0), (200, 200));
}

#[tokio::test]
async fn a_process_whose_forward_pass_fails_is_never_ready() {
    let app = TestApp::start().await;
    app.state.engine.stop().await;
    let state = AppState::new(app.rooms.clone());
    assert!(warm_up_once(&state).await.is_err());
    let (status, body) = ask(&state, "/readyz").await;
    let words = body["inference"].as_str().unwrap();
    assert_eq!((status, words), (503, "the first forward pass failed: the inference engine has stopped"));
    assert_eq!(ask(&state, "/healthz").await.0, 200);
}

#[tokio::test]
async fn a_process_whose_engine_has_stopped_since_is_not_ready_any_more() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/readyz").await.status, 200);
    app.state.engine.stop().await;
    // The thread says that it ends, and then ends.
    let found = until("it is not ready", async || Some(app.get("/readyz").await).filter(|found| found.status == 503));
    let found = found.await;
    assert_eq!(found.body["inference"], "the inference engine has stopped", "{:#}", found.body);
    assert_eq!((&found.body["database"], &found.body["process"]), (&json!("ok"), &json!("ok")));
    assert_eq!((app.get("/v2/health/ready").await.status, app.get("/healthz").await.status), (503, 200));
}

#[tokio::test]
async fn text_that_postgres_cannot_hold_is_refused_by_its_place() {
    let app = TestApp::start().await;
    let body = json!({"file": "x", "teacher": "y", "metadata": {"a": "b\u{0}"}});
    app.post("/v1/annotation-jobs", body).await.refused(400, "invalid_value", "#/metadata/a");
    app.get("/v1/jobs/job-00000000000000000000000000000000/metrics?name=a%00").await.refused(
        400,
        "invalid_value",
        "#/name",
    );
    let upload = app.upload("{\"input\":\"a\"}\n\u{0}\n").await;
    assert_eq!((upload.status, &upload.body["status"]), (201, &json!("error")), "{:#}", upload.body);
}

#[tokio::test]
async fn metrics_count_by_route_and_never_by_id() {
    let app = TestApp::start().await;
    let file = app.file(&[json!({"input": "a"})]).await;
    let job = app.post("/v1/annotation-jobs", json!({"file": file, "teacher": "scripted"})).await.id();
    app.get(&format!("/v1/jobs/{job}")).await;
    let text = String::from_utf8(app.get("/metrics").await.bytes).unwrap();
    for line in [
        "stepwise_http_requests_total{method=\"GET\",route=\"/v1/jobs/{id}\",status=\"200\"} 1",
        "stepwise_jobs{kind=\"annotation\",state=\"queued\"} 1",
        "stepwise_jobs{kind=\"distillation\",state=\"running\"} 0",
        "stepwise_db_pool_connections{state=\"idle\"}",
        "stepwise_build_info{version=",
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
    assert!(!text.contains(&job) && !text.contains(&file), "an id is a label:\n{text}");
}

#[tokio::test]
async fn the_document_is_served() {
    let app = TestApp::start().await;
    let document = app.get("/openapi.json").await.body;
    assert_eq!(document, serde_json::to_value(stepwise::api::openapi()).unwrap());
    assert!(document["paths"]["/v1/predictions"]["post"].is_object(), "{}", document["paths"]);
}
