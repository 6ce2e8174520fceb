//! Teachers that end before their answer, decline one question, refuse one, or refuse all: what becomes of the rows, of the
//! job, and of the money.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    talker::{Heard, Talker, completion},
};

fn rows(count: usize) -> Vec<Value> {
    (0..count).map(|row| json!({"input": format!("question {row}.")})).collect()
}

fn refund() -> Response {
    completion(json!({"content": "It broke.\nAnswer: refund"}), "stop")
}

/// Whether the last question is this one.
fn asks(heard: &Heard, question: &str) -> bool {
    heard.prompt.rsplit("Input:").next().unwrap().contains(question)
}

async fn verdicts(app: &TestApp, job: &Value) -> Vec<Value> {
    let path = format!("/v1/jobs/{}/annotations?limit=100", job["id"].as_str().unwrap());
    app.get(&path).await.body["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_was_cut_off_or_declined_is_told_apart_and_not_bought_again() {
    let app = TestApp::start().await;
    let teacher = Talker::replying(|heard| match heard.prompt.as_str() {
        _ if asks(heard, "cut") => completion(json!({"content": "Because.\nAnswer: New Yo"}), "length"),
        _ if asks(heard, "filtered") => completion(json!({"content": ""}), "content_filter"),
        _ if asks(heard, "declined") => completion(json!({"content": "", "refusal": "Das geht nicht."}), "stop"),
        _ if asks(heard, "sorry") => completion(json!({"content": "I\u{2019}m sorry, but no."}), "stop"),
        _ => completion(json!({"content": [{"type": "text", "text": "Because.\nAnswer: Paris"}]}), "stop"),
    })
    .await;
    let inputs = ["cut", "filtered", "declined", "sorry", "answered"];
    let file = app.file(&inputs.map(|input| json!({"input": input}))).await;
    let request = json!({"file": file, "teacher": "scripted"});
    // The second job has the same answers from the ledger.
    for reused in [0, inputs.len()] {
        let job = teacher.annotate(&app, request.clone()).await;
        let found = verdicts(&app, &job).await;
        let statuses: Vec<_> = found.iter().map(|verdict| verdict["status"].as_str().unwrap()).collect();
        assert_eq!(statuses, ["truncated", "refused", "refused", "refused", "valid"], "{found:#?}");
        assert_eq!((&found[2]["raw_output"], &found[4]["teacher_label"]), (&json!("Das geht nicht."), &json!("Paris")));
        assert_eq!(job["result"]["calls"]["reused"], reused, "{job:#}");
        assert_eq!(teacher.heard().len(), inputs.len(), "none of them is repaired");
    }
}

#[tokio::test]
async fn a_count_that_cannot_be_true_is_guessed_and_spends_no_budget() {
    let app = TestApp::start().await;
    let teacher = Talker::replying(|_| {
        let usage = json!({"prompt_tokens": i64::MAX, "completion_tokens": 1.0});
        let choice = json!({"message": {"content": "It broke.\nAnswer: refund"}, "finish_reason": "stop"});
        axum::Json(json!({"choices": [choice], "usage": usage})).into_response()
    })
    .await;
    let file = app.file(&rows(10)).await;
    let budget = json!({"max_tokens": 50_000});
    let request = json!({"file": file, "teacher": "scripted", "task": "returns", "budget": budget});
    let job = teacher.annotate(&app, request).await;
    let result = &job["result"];
    assert_eq!((&job["state"], &result["counts"]["valid"]), (&json!("succeeded"), &json!(10)), "{job:#}");
    let tokens = result["input_tokens"].as_i64().unwrap();
    assert!((1000..50_000).contains(&tokens) && result["output_tokens"] == 10, "{result:#}");
}

#[tokio::test]
async fn a_teacher_that_refuses_every_call_is_not_asked_about_every_row() {
    let app = TestApp::start().await;
    let complaint = r#"{"error":{"message":"Unsupported value: 'temperature' does not support 0 with this model."}}"#;
    let teacher = Talker::replying(move |_| (StatusCode::BAD_REQUEST, complaint).into_response()).await;
    let file = app.file(&rows(200)).await;
    let job = teacher.annotate(&app, json!({"file": file, "teacher": "scripted", "task": "returns"})).await;
    assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("teacher_refuses")), "{job:#}");
    let message = job["error"]["message"].as_str().unwrap();
    assert!(message.contains("does not support 0") && message.contains(r#"leave_out = ["temperature"]"#), "{message}");
    let asked = teacher.heard().len();
    assert!((20..30).contains(&asked), "those that were under way are the last: {asked}");
}

#[tokio::test]
async fn answers_that_another_job_had_paid_for_do_not_keep_a_refused_job_asking() {
    let app = TestApp::start().await;
    let (known, all) = (app.file(&rows(1)).await, app.file(&rows(200)).await);
    // The row that is known is all that is judged first.
    let first = json!({"rows": 1, "min_valid": 1});
    let request = |file| json!({"file": file, "teacher": "scripted", "task": "returns", "smoke": first});
    for (status, code, most) in
        [(StatusCode::BAD_REQUEST, "teacher_refuses", 30), (StatusCode::FORBIDDEN, "teacher_refused_key", 10)]
    {
        let teacher = Talker::replying(move |heard| match asks(heard, "question 0.") {
            true => refund(),
            false => (status, "not from you").into_response(),
        })
        .await;
        assert_eq!(teacher.annotate(&app, request(&known)).await["state"], "succeeded");
        let job = teacher.annotate(&app, request(&all)).await;
        assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!(code)), "{job:#}");
        let report = app.get(&format!("/v1/jobs/{}/report", job["id"].as_str().unwrap())).await.body;
        let calls = &report["calls"];
        assert_eq!((&calls["answered"], &calls["reused"]), (&json!(0), &json!(1)), "{report:#}");
        let asked = teacher.heard().len();
        assert!(asked < most, "those that were under way are the last: {asked}");
    }
}

#[tokio::test]
async fn a_reply_of_another_shape_is_paid_for_once_and_not_about_every_row() {
    let app = TestApp::start().await;
    let teacher = Talker::replying(|_| axum::Json(json!({"output": [{"text": "It broke."}]})).into_response()).await;
    let file = app.file(&rows(200)).await;
    let job = teacher.annotate(&app, json!({"file": file, "teacher": "scripted", "task": "returns"})).await;
    assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("teacher_refuses")), "{job:#}");
    let mut keys: Vec<_> = teacher.heard().into_iter().map(|heard| heard.idempotency_key).collect();
    let asked = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert!(keys.len() == asked && asked < 30, "{asked} calls about {} questions", keys.len());
}

#[tokio::test]
async fn a_model_or_path_that_is_not_there_fails_the_job_at_once() {
    for body in [r#"{"error":{"message":"The model `m` does not exist.","code":404}}"#, "404 page not found"] {
        let app = TestApp::start().await;
        let teacher = Talker::replying(move |_| (StatusCode::NOT_FOUND, body).into_response()).await;
        let file = app.file(&rows(100)).await;
        let job = teacher.annotate(&app, json!({"file": file, "teacher": "scripted", "task": "returns"})).await;
        assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("teacher_not_served")), "{job:#}");
        assert!(teacher.heard().len() < 10, "{}", teacher.heard().len());
    }
}

#[tokio::test]
async fn a_forbidden_text_costs_its_own_answer_once_others_were_answered() {
    let app = TestApp::start().await;
    let forbids = |question: &'static str| {
        Talker::replying(move |heard| match asks(heard, question) {
            true => (StatusCode::FORBIDDEN, "flagged by moderation").into_response(),
            false => refund(),
        })
    };
    let file = app.file(&rows(8)).await;
    let first = json!({"rows": 1, "min_valid": 1});
    let request = json!({"file": file, "teacher": "scripted", "task": "returns", "smoke": first, "reuse": false});
    let teacher = forbids("question 5.").await;
    let job = teacher.annotate(&app, request.clone()).await;
    let counts = &job["result"]["counts"];
    assert_eq!((&job["state"], &counts["valid"], &counts["failed"]), (&json!("succeeded"), &json!(7), &json!(1)));
    assert!(verdicts(&app, &job).await[5]["reason"].as_str().unwrap().contains("flagged by moderation"));
    // Asked again, it is the first of its attempt.
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    assert_eq!(app.post(&format!("{path}/retry"), json!({"only": ["failed"]})).await.status, 200);
    teacher.work(&app).await;
    let job = app.get(&path).await.body;
    assert_eq!((&job["state"], &job["result"]["counts"]["failed"]), (&json!("succeeded"), &json!(1)), "{job:#}");
    let many = app.file(&rows(100)).await;
    // From the first call on, or from some call on: a key that was good once.
    for good in ["no question", "question 0."] {
        let mut request = request.clone();
        request["file"] = json!(many);
        let teacher = Talker::replying(move |heard| match asks(heard, good) {
            true => refund(),
            false => (StatusCode::FORBIDDEN, "no more").into_response(),
        })
        .await;
        let job = teacher.annotate(&app, request).await;
        assert_eq!(
            (&job["state"], &job["error"]["code"]),
            (&json!("failed"), &json!("teacher_refused_key")),
            "{job:#}"
        );
        assert!(teacher.heard().len() < 40, "{}", teacher.heard().len());
    }
}

#[tokio::test]
async fn rows_that_are_refused_again_do_not_fail_a_job_that_has_answers() {
    let app = TestApp::start().await;
    let teacher = Talker::replying(|heard| match asks(heard, "question 0.") {
        true => refund(),
        false => (StatusCode::BAD_REQUEST, "too long").into_response(),
    })
    .await;
    let file = app.file(&rows(60)).await;
    let first = json!({"rows": 1, "min_valid": 1});
    let request = json!({"file": file, "teacher": "scripted", "task": "returns", "smoke": first});
    let job = teacher.annotate(&app, request).await;
    assert_eq!((&job["state"], &job["result"]["counts"]["failed"]), (&json!("succeeded"), &json!(59)), "{job:#}");
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    assert_eq!(app.post(&format!("{path}/retry"), json!({"only": ["failed"]})).await.status, 200);
    teacher.work(&app).await;
    let job = app.get(&path).await.body;
    assert_eq!((&job["state"], &job["result"]["counts"]["failed"]), (&json!("succeeded"), &json!(59)), "{job:#}");
    assert_eq!(teacher.heard().len(), 1 + 2 * 59, "{job:#}");
}
