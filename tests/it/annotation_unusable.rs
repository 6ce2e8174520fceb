//! Annotations whose answers cannot be used: the job says so while it still costs money, and at its end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::http::StatusCode;
use serde_json::{Value, json};
use stepwise::{
    domain::JobKind,
    shutdown::Shutdown,
    store::{EventLevel, NewEvent},
    worker::work_once,
};

use crate::support::{
    answers::running_annotation,
    app::TestApp,
    service::until,
    talker::{Heard, Talker},
};

async fn events(app: &TestApp, job: &str, code: &str) -> Vec<Value> {
    let events = app.get(&format!("/v1/jobs/{job}/events?limit=100")).await.body;
    events["data"].as_array().unwrap().iter().filter(|event| event["code"] == code).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_told_while_it_runs_that_most_of_its_answers_cannot_be_used() {
    let app = TestApp::start().await;
    let told = Arc::new(AtomicBool::new(false));
    let was_told = Arc::clone(&told);
    let has_refused = AtomicBool::new(false);
    let teacher = Talker::start(move |heard: &Heard| {
        // The last rows wait until the job has been told, and one of them waits however late it is asked.
        let is_late = heard.prompt.contains("a late row");
        if is_late && (!has_refused.swap(true, Ordering::Relaxed) || !was_told.load(Ordering::Relaxed)) {
            return Err(StatusCode::TOO_MANY_REQUESTS);
        }
        let good = heard.prompt.contains("a good row") || heard.prompt.contains("a late row");
        Ok(if good { "It broke.\nAnswer: refund".to_owned() } else { "No idea.".to_owned() })
    })
    .await;
    let kinds = [("a good row", 40), ("a bad row", 70), ("a late row", 5)];
    let rows =
        kinds.iter().flat_map(|(kind, count)| (0..*count).map(move |row| json!({"input": format!("{kind} {row}")})));
    let file = app.file(&rows.collect::<Vec<_>>()).await;
    let request = json!({"file": file, "teacher": "scripted", "task": "returns", "repair": false});
    let job = app.post("/v1/annotation-jobs", request).await.id();
    let worker = teacher.worker(&app);
    let working = tokio::spawn(async move { work_once(&worker, &[JobKind::Annotation], &Shutdown::new()).await });
    let event = until("the job is told", async || events(&app, &job, "mostly_invalid").await.pop()).await;
    assert_eq!(app.get(&format!("/v1/jobs/{job}")).await.body["state"], "running");
    told.store(true, Ordering::Relaxed);
    let data = &event["data"];
    let (settled, valid) = (data["settled"].as_i64().unwrap(), data["valid"].as_i64().unwrap());
    assert!((100..=110).contains(&settled) && valid == 40 && event["level"] == "warn", "{event:#}");
    assert_eq!((&data["reasons"][0]["status"], data["reasons"].as_array().unwrap().len()), (&json!("invalid"), 1));

    assert!(working.await.unwrap().unwrap());
    let result = app.get(&format!("/v1/jobs/{job}")).await.body["result"].clone();
    assert_eq!((&result["counts"]["valid"], &result["rejections"][0]["examples"]), (&json!(45), &json!(70)));
    assert_eq!(events(&app, &job, "mostly_invalid").await.len(), 1, "once is enough");
    let pushed_back = &events(&app, &job, "teacher_rate_limited").await[0]["message"];
    let message = pushed_back.as_str().unwrap();
    assert!(message.starts_with("a call to the teacher \"scripted\" failed; trying on: "), "{message}");
    assert!(events(&app, &job, "nothing_valid").await.is_empty());
}

#[tokio::test]
async fn an_annotation_without_one_valid_answer_says_so_at_its_end() {
    let (app, teacher) = (TestApp::start().await, Talker::start(|_: &Heard| Ok("No idea.".to_owned())).await);
    let file = app.file(&(0..3).map(|row| json!({"input": format!("question {row}")})).collect::<Vec<_>>()).await;
    let request = json!({"file": file, "teacher": "scripted", "task": "returns", "repair": false});
    let job = teacher.annotate(&app, request).await;
    let id = job["id"].as_str().unwrap();
    assert_eq!((&job["state"], &job["result"]["counts"]["valid"]), (&json!("succeeded"), &json!(0)));
    let told = events(&app, id, "nothing_valid").await;
    let message = told[0]["message"].as_str().unwrap();
    assert!(message.starts_with("none of the 3 examples is valid: 3 invalid ("), "{told:#?}");
    let reasons = &told[0]["data"]["reasons"];
    assert_eq!(
        (&told[0]["level"], reasons, reasons[0]["examples"].as_i64()),
        (&json!("warn"), &job["result"]["rejections"], Some(3))
    );
    // Somebody who asks again wants to know again.
    app.post(&format!("/v1/jobs/{id}/retry"), json!({"only": ["invalid"]})).await;
    teacher.work(&app).await;
    assert_eq!(events(&app, id, "nothing_valid").await.len(), 2);
}

#[tokio::test]
async fn what_is_told_once_is_told_once_however_many_attempts_find_it() {
    let app = TestApp::start().await;
    let lease = running_annotation(&app, &["invalid"]).await;
    let event = NewEvent {
        level: EventLevel::Warn,
        code: "mostly_invalid".to_owned(),
        message: "so it is".to_owned(),
        data: json!({}),
    };
    for _ in 0..2 {
        app.store.append_event_once(lease, &event).await.unwrap();
    }
    assert_eq!(events(&app, &lease.job_id.to_string(), "mostly_invalid").await.len(), 1);
    app.store.release(lease).await.unwrap();
    assert!(app.store.append_event_once(lease, &event).await.is_err(), "the lease is lost");
}
