//! An annotation in each form of answer, from the request to the output file, with a teacher that does as it is told.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::State, routing::post};
use serde_json::{Value, json};
use stepwise::{
    domain::JobKind,
    outbound::install_tls,
    shutdown::Shutdown,
    teacher::{TeacherClient, TeacherSettings},
    worker::{Worker, work_once},
};

use crate::support::{app::TestApp, listening::serve};

type Asked = Arc<Mutex<Vec<Value>>>;

/// Answers in the form that the instructions ask for, and keeps each request.
async fn answer(State(asked): State<Asked>, Json(request): Json<Value>) -> Json<Value> {
    let told = request["messages"][0]["content"].as_str().unwrap();
    let text = if told.contains("JSON object") {
        "Here it is:\n```json\n{\"rationale\": \"It came in time.\", \"label\": \"refund\"}\n```"
    } else if told.contains("First write the answer alone") {
        "refund\nReasoning: It came in time."
    } else {
        "It came in time.\nAnswer: refund"
    };
    asked.lock().unwrap().push(request);
    Json(json!({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}))
}

#[tokio::test]
async fn a_teacher_is_asked_and_read_in_the_form_that_the_request_names() {
    install_tls();
    let (app, asked) = (TestApp::start().await, Asked::default());
    let router = Router::new().route("/v1/chat/completions", post(answer)).with_state(Arc::clone(&asked));
    let base_url = format!("http://{}/v1", serve(router).await);
    let settings = TeacherSettings { json_schema: true, ..TeacherSettings::new("scripted", &base_url, "m") };
    let worker = Worker {
        teachers: vec![TeacherClient::new(settings).unwrap()],
        ..Arc::into_inner(app.worker()).expect("nobody else has it yet")
    };
    let worker = Arc::new(worker);
    let file = app.file(&[json!({"input": "The parcel came late."})]).await;
    for (form, sends_schema) in [("rationale_then_label", false), ("label_then_rationale", false), ("json", true)] {
        let request = json!({"file": file, "teacher": "scripted", "task": "returns", "answer_form": form});
        let job = app.post("/v1/annotation-jobs", request).await;
        assert_eq!((job.status, &job.body["spec"]["answer_form"]), (201, &json!(form)), "{:#}", job.body);
        assert!(work_once(&worker, &[JobKind::Annotation], &Shutdown::new()).await.unwrap());
        let path = format!("/v1/jobs/{}/annotations", job.body["id"].as_str().unwrap());
        let read = app.get(&path).await.body["data"][0].clone();
        assert_eq!(
            (&read["status"], &read["teacher_label"], &read["rationale"]),
            (&json!("valid"), &json!("refund"), &json!("It came in time.")),
            "{form}: {read:#}"
        );
        let sent = asked.lock().unwrap().pop().unwrap();
        let labels = &sent["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"];
        assert_eq!(labels == &json!(["refund", "exchange", "reject"]), sends_schema, "{form}: {sent:#}");
    }
}

#[tokio::test]
async fn a_task_whose_answers_could_not_be_read_is_refused_before_any_is_paid_for() {
    let app = TestApp::start().await;
    let file = app.file(&[json!({"input": "The parcel came late."})]).await;
    let task = json!({"form": "cqa", "label_set": {"fixed": ["yes", "no"]}});
    let request = |form: &str| json!({"file": file, "teacher": "scripted", "task": task, "answer_form": form});
    let refused = app.post("/v1/annotation-jobs", request("rationale_then_label")).await;
    let message = refused.refused(400, "invalid_value", "#/task/label_set/fixed/0");
    assert!(message.contains("use form `text`"), "{message}");
    assert_eq!(app.post("/v1/annotation-jobs", request("json")).await.status, 201, "an object holds any label");
}
