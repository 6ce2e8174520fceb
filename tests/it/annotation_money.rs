//! What an annotation may cost: budgets, the first rows, answers that are there already, and calls of which nobody knows.

use axum::http::StatusCode;
use serde_json::{Value, json};
use stepwise::{
    domain::{Chunk, JobState, PauseReason},
    store::{EventLevel, NewEvent, Store},
};

use crate::support::{
    answers::running_annotation,
    app::TestApp,
    talker::{ANSWER_TOKENS, Heard, PROMPT_TOKENS, Talker},
};

/// Tokens of one call.
const CALL: i64 = PROMPT_TOKENS + ANSWER_TOKENS;

fn rows(count: usize) -> Vec<Value> {
    (0..count).map(|row| json!({"input": format!("question {row}")})).collect()
}

async fn agreeable() -> Talker {
    Talker::start(|_: &Heard| Ok("It broke.\nAnswer: refund".to_owned())).await
}

async fn event(app: &TestApp, job: &Value, code: &str) -> Value {
    let events = app.get(&format!("/v1/jobs/{}/events?limit=100", job["id"].as_str().unwrap())).await.body;
    let found = events["data"].as_array().unwrap().iter().rfind(|event| event["code"] == code);
    found.unwrap_or_else(|| panic!("no {code}: {events:#}")).clone()
}

async fn resume(app: &TestApp, job: &Value, body: Value) -> crate::support::app::Answer {
    app.post(&format!("/v1/jobs/{}/resume", job["id"].as_str().unwrap()), body).await
}

#[tokio::test]
async fn a_budget_stops_the_spending_and_a_larger_one_goes_on() {
    let (app, teacher) = (TestApp::start().await, agreeable().await);
    let file = app.file(&rows(30)).await;
    let budget = json!({"max_tokens": 3000});
    let request =
        json!({"file": file, "teacher": "large", "task": "returns", "max_output_tokens": 200, "budget": budget});
    let job = teacher.annotate(&app, request).await;
    assert_eq!((&job["state"], &job["pause_reason"]), (&json!("paused"), &json!("budget")), "{job:#}");
    assert_eq!(job["attempt"], 0, "a pause costs no attempt");
    let told = event(&app, &job, "paused").await["data"].clone();
    let calls = i64::try_from(teacher.heard().len()).unwrap();
    assert_eq!((&told["spent_tokens"], &told["calls"]["answered"]), (&json!(calls * CALL), &json!(calls)), "{told:#}");
    // The last call had room for its worst case, and the next one had none.
    let (spent, next) = (told["spent_tokens"].as_i64().unwrap(), told["next_call_tokens"].as_i64().unwrap());
    assert!(spent <= 3000 && spent + next > 3000 && calls > 4, "{told:#}");
    let usd = (calls * PROMPT_TOKENS) as f64 * 2e-6 + (calls * ANSWER_TOKENS) as f64 * 1e-5;
    assert!((told["spent_usd"].as_f64().unwrap() - usd).abs() < 1e-12, "{told:#}");
    assert_eq!(job["progress"]["step"], calls, "what was paid for is settled");

    resume(&app, &job, json!({"budget": {"max_tokens": spent - 1}})).await.refused(400, "invalid_value", "#/budget");
    resume(&app, &job, json!({"budget": {"tokens": 5}})).await.refused(400, "unknown_parameter", "#/budget/tokens");
    // With the same budget it pauses again, having asked nothing.
    assert_eq!(resume(&app, &job, json!({})).await.body["state"], "queued");
    resume(&app, &job, json!({"budget": {"max_usd": 1}})).await.refused(409, "job_is_not_paused", "");
    teacher.work(&app).await;
    assert_eq!(i64::try_from(teacher.heard().len()).unwrap(), calls);
    let resumed = resume(&app, &job, json!({"budget": {"max_usd": 1}})).await.body;
    assert_eq!(resumed["spec"]["budget"], json!({"max_usd": 1.0, "max_tokens": null}), "{resumed:#}");
    teacher.work(&app).await;
    let job = app.get(&format!("/v1/jobs/{}", job["id"].as_str().unwrap())).await.body;
    assert_eq!((&job["state"], &job["result"]["counts"]["valid"]), (&json!("succeeded"), &json!(30)), "{job:#}");
    assert_eq!(teacher.heard().len(), 30, "nothing is asked twice");
    assert_eq!(job["result"]["tokens_per_example"], json!(CALL as f64));
}

#[tokio::test]
async fn a_budget_that_has_no_room_for_one_call_spends_nothing() {
    let (app, teacher) = (TestApp::start().await, agreeable().await);
    let file = app.file(&rows(3)).await;
    let request = json!({"file": file, "teacher": "large", "task": "returns", "budget": {"max_usd": 0.0001}});
    let job = teacher.annotate(&app, request).await;
    assert_eq!((&job["pause_reason"], teacher.heard().len()), (&json!("budget"), 0), "{job:#}");
}

#[tokio::test]
async fn first_rows_that_go_wrong_pause_the_job_before_the_rest_is_paid_for() {
    let app = TestApp::start().await;
    let teacher = Talker::start(|heard: &Heard| {
        let good = heard.prompt.ends_with("question 0\nReasoning:") || heard.prompt.contains("question 1");
        Ok(if good { "It broke.\nAnswer: refund".to_owned() } else { "No idea.".to_owned() })
    })
    .await;
    let file = app.file(&rows(20)).await;
    let request = json!({"file": file, "teacher": "scripted", "task": "returns", "repair": false,
        "smoke": {"rows": 5, "min_valid": 3}});
    let job = teacher.annotate(&app, request).await;
    assert_eq!((&job["state"], &job["pause_reason"]), (&json!("paused"), &json!("smoke")), "{job:#}");
    assert_eq!(teacher.heard().len(), 5, "the rest is not asked about");
    let report = event(&app, &job, "paused").await["data"].clone();
    assert_eq!((&report["counts"]["valid"], &report["counts"]["invalid"]), (&json!(2), &json!(3)), "{report:#}");
    assert_eq!(
        (&report["examples"][0]["example_index"], &report["examples"][0]["raw_output"]),
        (&json!(2), &json!("No idea."))
    );
    // Who resumes it wants the rest.
    resume(&app, &job, json!({})).await;
    teacher.work(&app).await;
    let job = app.get(&format!("/v1/jobs/{}", job["id"].as_str().unwrap())).await.body;
    assert_eq!((&job["state"], &job["result"]["counts"]["total"]), (&json!("succeeded"), &json!(20)), "{job:#}");
    assert_eq!(teacher.heard().len(), 20);

    let request = json!({"file": file, "teacher": "scripted", "task": "returns", "smoke": {"rows": 2, "min_valid": 2}});
    let job = teacher.annotate(&app, request).await;
    assert_eq!(job["state"], "succeeded", "its first two rows are valid: {job:#}");
}

#[tokio::test]
async fn a_retry_after_first_rows_that_went_wrong_judges_them_again_before_the_rest_is_paid_for() {
    let (app, teacher) = (TestApp::start().await, Talker::start(|_: &Heard| Ok("No idea.".to_owned())).await);
    let file = app.file(&rows(20)).await;
    let request = json!({"file": file, "teacher": "scripted", "task": "returns", "repair": false,
        "smoke": {"rows": 5, "min_valid": 3}});
    let job = teacher.annotate(&app, request).await;
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    assert_eq!((&job["pause_reason"], teacher.heard().len()), (&json!("smoke"), 5), "{job:#}");
    // As it is, nothing is asked; for its invalid examples, these alone.
    for (body, heard) in [(json!({}), 5), (json!({"only": ["invalid"]}), 10)] {
        assert_eq!(app.post(&format!("{path}/cancel"), json!({})).await.body["state"], "cancelled");
        assert_eq!(app.post(&format!("{path}/retry"), body.clone()).await.body["state"], "queued");
        teacher.work(&app).await;
        let job = app.get(&path).await.body;
        assert_eq!((&job["state"], &job["pause_reason"]), (&json!("paused"), &json!("smoke")), "{body}: {job:#}");
        assert_eq!(teacher.heard().len(), heard, "{body}: the rest is not asked about");
    }
    resume(&app, &job, json!({})).await;
    teacher.work(&app).await;
    assert_eq!(teacher.heard().len(), 25, "who resumes it wants the rest all the same");
}

#[tokio::test]
async fn first_rows_whose_pause_a_cancel_overtakes_are_not_judged() {
    let app = TestApp::start().await;
    let lease = running_annotation(&app, &["invalid"]).await;
    app.store.cancel_job(Store::default_project(), lease.job_id).await.unwrap();
    let (code, message) = ("paused".to_owned(), "too few are valid".to_owned());
    let event = NewEvent { level: EventLevel::Warn, code, message, data: json!({}) };
    let state = app.store.pause_running(lease, PauseReason::Smoke, &event).await.unwrap();
    assert_eq!(state, JobState::Cancelled);
    assert!(!app.store.is_smoke_judged(lease.job_id).await.unwrap(), "nobody has said that the rest is wanted");
}

#[tokio::test]
async fn no_other_worker_asks_about_the_rest_before_the_first_rows_are_judged_again() {
    let app = TestApp::start().await;
    for (smoke, stays) in [("failed", false), ("passed", true)] {
        let lease = running_annotation(&app, &["invalid"]).await;
        let chunk = Chunk { number: 0, first_index: 0, end_index: 9, line_number: 1, byte_offset: 0, end_offset: 99 };
        app.store.plan_chunks(lease, &[chunk]).await.unwrap();
        let judged = "update annotation_sums set smoke = $2 where job_id = $1";
        sqlx::query(judged).bind(lease.job_id.0).bind(smoke).execute(app.pool()).await.unwrap();
        app.store.cancel_job(Store::default_project(), lease.job_id).await.unwrap();
        app.store.cancelled(lease).await.unwrap();
        app.store.retry_job(Store::default_project(), lease.job_id).await.unwrap();
        assert_eq!(app.store.has_unsettled_chunks(lease.job_id).await.unwrap(), stays, "{smoke}");
        app.store.cancel_job(Store::default_project(), lease.job_id).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_teacher_without_prices_cost_is_not_known_rather_than_nothing() {
    let (app, teacher) = (TestApp::start().await, agreeable().await);
    let file = app.file(&rows(3)).await;
    let figures = async |name: &str| {
        let job = teacher.annotate(&app, json!({"file": file, "teacher": name, "task": "returns"})).await;
        let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
        let report = app.get(&format!("{path}/report")).await.body;
        let metrics = app.get(&format!("{path}/metrics?name=cost_usd")).await.body;
        let told = metrics["data"].as_array().unwrap().len();
        let costs = [&job["result"]["cost_usd"], &job["result"]["unknown_cost_usd"], &report["cost_usd"]];
        (costs.map(Value::is_null), job["estimate"]["usd"].is_null(), told)
    };
    assert_eq!(figures("scripted").await, ([true; 3], true, 0));
    assert_eq!(figures("large").await, ([false; 3], false, 1));
}

#[tokio::test]
async fn an_equal_request_is_paid_for_once_over_all_jobs() {
    let (app, teacher) = (TestApp::start().await, agreeable().await);
    let file = app.file(&rows(10)).await;
    let request = json!({"file": file, "teacher": "scripted", "task": "returns"});
    let with = |name: &str, value: Value| {
        let mut request = request.clone();
        request[name] = value;
        request
    };
    teacher.annotate(&app, request.clone()).await;
    assert_eq!(teacher.heard().len(), 10);
    let again = teacher.annotate(&app, request.clone()).await;
    assert_eq!(teacher.heard().len(), 10, "nothing is asked");
    let result = &again["result"];
    assert_eq!((&result["calls"]["reused"], &result["calls"]["answered"]), (&json!(10), &json!(0)), "{again:#}");
    assert_eq!((&result["input_tokens"], &result["counts"]["valid"]), (&json!(0), &json!(10)), "{again:#}");
    teacher.annotate(&app, with("reuse", json!(false))).await;
    assert_eq!(teacher.heard().len(), 20, "a job may do without");
    teacher.annotate(&app, with("temperature", json!(0.5))).await;
    assert_eq!(teacher.heard().len(), 30, "with other parameters it is another request");
}

#[tokio::test]
async fn a_question_that_the_teacher_never_answers_fails_alone() {
    let app = TestApp::start().await;
    let teacher = Talker::start(|heard: &Heard| {
        // The second question gets no answer; the others wait until it has been tried.
        if heard.prompt.contains("question 1\n") {
            Err(StatusCode::BAD_REQUEST)
        } else {
            Ok("So.\nAnswer: refund".to_owned())
        }
    })
    .await;
    let file = app.file(&rows(4)).await;
    let job = teacher.annotate(&app, json!({"file": file, "teacher": "scripted", "task": "returns"})).await;
    let result = &job["result"];
    assert_eq!((&result["counts"]["valid"], &result["counts"]["failed"]), (&json!(3), &json!(1)), "{job:#}");
    assert_eq!((&result["calls"]["answered"], &result["calls"]["failed"]), (&json!(3), &json!(1)), "{job:#}");
}
