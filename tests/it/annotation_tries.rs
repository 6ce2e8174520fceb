//! Tries at a question that gets no answer: which of them count, what they cost whom, and what ends them.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use serde_json::{Value, json};
use stepwise::domain::{AnnotationSpec, Budget, JobSpec};

use crate::support::{
    app::TestApp,
    fleet::Fleet,
    seed::{annotation_spec, new_job},
    service::until,
    talker::{Heard, Talker},
    teacher::GatedTeacher,
};

const ANSWER: &str = "So.\nAnswer: refund";

fn rows(count: usize) -> Vec<Value> {
    (0..count).map(|row| json!({"input": format!("question {row}.")})).collect()
}

fn request(file: &str) -> Value {
    json!({"file": file, "teacher": "scripted", "task": "returns", "repair": false})
}

fn about(teacher: &Talker, row: usize) -> Vec<Heard> {
    let heard = teacher.heard().into_iter();
    heard.filter(|heard| heard.prompt.contains(&format!("question {row}."))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn however_often_the_teacher_wants_to_be_left_alone_no_try_is_used_up() {
    let app = TestApp::start().await;
    let left = AtomicUsize::new(7);
    let teacher = Talker::start(move |_: &Heard| {
        let limited = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if limited { Err(StatusCode::TOO_MANY_REQUESTS) } else { Ok(ANSWER.to_owned()) }
    })
    .await;
    let file = app.file(&rows(1)).await;
    let job = teacher.annotate(&app, request(&file)).await;
    assert_eq!((&job["state"], &job["result"]["counts"]["valid"]), (&json!("succeeded"), &json!(1)), "{job:#}");
    assert_eq!((teacher.heard().len(), &job["attempt"]), (8, &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_the_teacher_cannot_bear_fails_alone_also_when_it_is_the_last_one() {
    let app = TestApp::start().await;
    let teacher = Talker::start(|heard: &Heard| {
        let bears = !heard.prompt.contains("question 2.");
        if bears { Ok(ANSWER.to_owned()) } else { Err(StatusCode::INTERNAL_SERVER_ERROR) }
    })
    .await;
    let file = app.file(&rows(3)).await;
    let job = teacher.annotate(&app, request(&file)).await;
    let counts = &job["result"]["counts"];
    assert_eq!((&counts["valid"], &counts["failed"]), (&json!(2), &json!(1)), "{job:#}");
    assert_eq!((about(&teacher, 2).len(), &job["attempt"]), (5, &json!(1)), "five tries, and no attempt of the job");
    let page = app.get(&format!("/v1/jobs/{}/annotations?status=failed", job["id"].as_str().unwrap())).await.body;
    let reason = page["data"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("given up after 5 tries") && reason.contains("500"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_teacher_that_answers_nobody_costs_the_attempt_and_no_question() {
    let app = TestApp::start().await;
    let teacher = Talker::start(|_: &Heard| Err(StatusCode::INTERNAL_SERVER_ERROR)).await;
    let file = app.file(&rows(3)).await;
    let job = teacher.annotate(&app, request(&file)).await;
    assert_eq!((&job["state"], &job["progress"]["step"]), (&json!("queued"), &json!(0)), "{job:#}");
    assert_eq!(job["error"]["code"], "teacher_error", "{job:#}");
}

#[tokio::test]
async fn asking_again_is_asking_the_teacher_under_a_key_that_tells_whether_it_has_answered() {
    let app = TestApp::start().await;
    let teacher = Talker::start(|heard: &Heard| match heard.prompt.contains("question 0.") {
        true => Err(StatusCode::BAD_REQUEST),
        false => Ok("Who knows?".to_owned()),
    })
    .await;
    let file = app.file(&rows(2)).await;
    teacher.annotate(&app, request(&file)).await;
    // Its answers are those of the job before, where there are any.
    let job = teacher.annotate(&app, request(&file)).await;
    assert_eq!((about(&teacher, 0).len(), about(&teacher, 1).len()), (2, 1), "{job:#}");
    let retry = format!("/v1/jobs/{}/retry", job["id"].as_str().unwrap());
    assert_eq!(app.post(&retry, json!({"only": ["invalid", "failed"]})).await.status, 200);
    teacher.work(&app).await;
    let [failed, unread] = [about(&teacher, 0), about(&teacher, 1)];
    assert_eq!((failed.len(), unread.len()), (3, 2), "both are asked again");
    let keys = |heard: &[Heard]| [0, 1].map(|back| heard[heard.len() - 1 - back].idempotency_key.clone());
    let [again, first] = keys(&failed);
    assert_eq!(again, first, "what was never answered is the same question");
    let [again, first] = keys(&unread);
    assert_ne!(again, first, "an answer that was no good is not wanted once more");
}

/// Works on an annotation with this budget until what is asked for has come about.
async fn budgeted(fleet: &Fleet, teacher: &GatedTeacher, budget: Budget, rows: usize) -> String {
    let path = fleet.folder.path().join("questions.jsonl");
    let text: String = (0..rows).map(|row| format!("{}\n", json!({"input": format!("question {row}")}))).collect();
    std::fs::write(&path, text).unwrap();
    let file = fleet.client.upload(&path).await;
    let spec = annotation_spec(file.parse().unwrap());
    let spec = AnnotationSpec { teacher: "gated".to_owned(), budget: Some(budget), max_output_tokens: 64, ..spec };
    assert!(teacher.asked().is_empty());
    fleet.database.store.create_job(&new_job(JobSpec::Annotation(spec))).await.unwrap().id.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_to_end_does_not_wait_for_room_in_a_budget() {
    let (fleet, teacher) = (Fleet::begin().await, GatedTeacher::start().await);
    // Room for two calls; the others wait until these are settled, which never happens.
    let budget = Budget { max_usd: None, max_tokens: Some(500) };
    budgeted(&fleet, &teacher, budget, 8).await;
    let mut worker = fleet.asking_worker_with("worker", &teacher, &["--drain-seconds", "0"]);
    until("questions are out", async || (!teacher.asked().is_empty()).then_some(())).await;
    worker.signal(libc::SIGTERM);
    until("the worker has ended", async || worker.has_ended().then_some(())).await;
    let sent = "select count(*) from teacher_calls where state = 'sent'";
    let sent: i64 = sqlx::query_scalar(sent).fetch_one(&fleet.database.pool).await.unwrap();
    assert_eq!(sent, 0, "what was under way is known to be unknown");
    let shares = "select count(*) from teacher_shares where expires_at > clock_timestamp()";
    let shares: i64 = sqlx::query_scalar(shares).fetch_one(&fleet.database.pool).await.unwrap();
    assert_eq!(shares, 0, "nobody waits for what it held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_for_room_in_its_budget_holds_up_no_other_job() {
    let (fleet, teacher) = (Fleet::begin().await, GatedTeacher::start().await);
    budgeted(&fleet, &teacher, Budget { max_usd: None, max_tokens: Some(500) }, 8).await;
    let (_worker, other) = {
        let worker = fleet.asking_worker("worker", &teacher);
        until("its budget is reserved", async || (!teacher.asked().is_empty()).then_some(())).await;
        let path = fleet.folder.path().join("other.jsonl");
        std::fs::write(&path, "{\"input\": \"another question\"}\n").unwrap();
        let file = fleet.client.upload(&path).await;
        (worker, fleet.annotation(&file, "gated").await)
    };
    until("the other job's question is out", async || {
        let asked = teacher.asked();
        asked.iter().any(|key| key.starts_with(&other)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_in_dollars_is_not_held_by_a_worker_without_prices() {
    let (fleet, teacher) = (Fleet::begin().await, GatedTeacher::start().await);
    let job = budgeted(&fleet, &teacher, Budget { max_usd: Some(1.0), max_tokens: None }, 2).await;
    let _worker = fleet.asking_worker("worker", &teacher);
    let told = fleet.client.until_job(&job, "has a reason", |job| job["error"].is_object()).await;
    assert_eq!(told["error"]["code"], "teacher_misconfigured", "{told:#}");
    assert!(teacher.asked().is_empty());
}
