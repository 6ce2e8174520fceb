//! Asking again about examples that went wrong, of an annotation that is over.

use serde_json::{Value, json};
use stepwise::{
    domain::{JobId, JobKind, JobState, TrainingSource},
    store::Store,
    worker::write_end_once,
};

use crate::support::{
    answers::{running_annotation, settle},
    app::TestApp,
    fleet::{Fleet, annotate},
    seed::{annotation_of, distillation_of, long_terms, new_job, new_worker},
    service::until,
    teacher::GatedTeacher,
};

/// An annotation that succeeded with these answers.
async fn succeeded(app: &TestApp, statuses: &[&str]) -> JobId {
    let lease = running_annotation(app, statuses).await;
    app.store.finish(lease, &json!({"output_file": "file-1"})).await.unwrap();
    lease.job_id
}

fn path(job: JobId) -> String {
    format!("/v1/jobs/{job}/retry")
}

async fn statuses(app: &TestApp, job: JobId) -> Vec<Value> {
    let page = app.get(&format!("/v1/jobs/{job}/annotations")).await;
    page.body["data"].as_array().unwrap().iter().map(|row| row["status"].clone()).collect()
}

#[tokio::test]
async fn only_the_named_verdicts_go_and_the_job_is_queued() {
    let app = TestApp::start().await;
    let job = succeeded(&app, &["valid", "invalid", "failed", "refused", "valid", "invalid"]).await;
    let answer = app.post(&path(job), json!({"only": ["invalid", "failed"]})).await;
    assert_eq!((answer.status, &answer.body["state"], &answer.body["result"]), (200, &json!("queued"), &Value::Null));
    assert_eq!(statuses(&app, job).await, ["valid", "refused", "valid"]);
    let events = app.get(&format!("/v1/jobs/{job}/events")).await.body;
    let said = &events["data"].as_array().unwrap().last().unwrap()["data"];
    assert_eq!(
        (&said["examples"], &said["only"], &said["output_file"]),
        (&json!(3), &json!(["invalid", "failed"]), &json!("file-1"))
    );
    assert!(app.store.claim(new_worker(), &[JobKind::Annotation], &long_terms()).await.unwrap().is_some());
}

#[tokio::test]
async fn what_cannot_be_asked_again_is_refused_with_its_remedy() {
    let app = TestApp::start().await;
    let job = succeeded(&app, &["valid", "invalid"]).await;
    let only = json!({"only": ["failed"]});
    app.post(&path(job), only.clone()).await.refused(409, "nothing_to_ask", "");
    app.post(&path(job), json!({})).await.refused(409, "job_is_over", "");
    for (only, what) in [(json!([]), "no status"), (json!(["valid"]), "valid answers are kept")] {
        let refused = app.post(&path(job), json!({"only": only})).await;
        assert!(refused.refused(400, "invalid_value", "#/only").contains(what));
    }
    app.post(&path(job), json!({"only": ["wrong"]})).await.refused(400, "invalid_value", "#/only/0");
    app.post(&path(job), json!({"just": ["failed"]})).await.refused(400, "unknown_parameter", "#/just");

    assert_eq!(app.post(&path(job), json!({"only": ["invalid"]})).await.status, 200);
    app.post(&path(job), json!({"only": ["invalid"]})).await.refused(409, "job_is_not_over", "");

    let training =
        distillation_of(TrainingSource::File(app.file(&[json!({"input": "a", "label": "b"})]).await.parse().unwrap()));
    let training = app.store.create_job(&new_job(training)).await.unwrap().id;
    app.store.cancel_job(Store::default_project(), training).await.unwrap();
    app.post(&path(training), only).await.refused(409, "not_an_annotation", "");
}

#[tokio::test]
async fn a_student_that_has_not_begun_waits_and_one_that_has_is_not_robbed() {
    let app = TestApp::start().await;
    let job = succeeded(&app, &["valid", "invalid"]).await;
    sqlx::query("update jobs set result = '{}'").execute(app.pool()).await.unwrap();
    let student = new_job(distillation_of(TrainingSource::AnnotationJob(job)));
    // As if it had been made while the annotation was running, whose output is not looked for here.
    sqlx::query("update jobs set state = 'running', result = null, finished_at = null, lease_owner = id, lease_expires_at = now()")
        .execute(app.pool()).await.unwrap();
    let student = app.store.create_job(&student).await.unwrap().id;
    sqlx::query("update jobs set state = 'succeeded', result = '{}', finished_at = now(), lease_owner = null, lease_expires_at = null where kind = 'annotation'")
        .execute(app.pool()).await.unwrap();
    assert_eq!(app.post(&path(job), json!({"only": ["invalid"]})).await.status, 200);
    let waits = &app.get(&format!("/v1/jobs/{student}")).await.body["queue"]["waits_for"];
    assert_eq!(waits, &json!([job]));
    let claimed = app.store.claim(new_worker(), &[JobKind::Distillation], &long_terms()).await.unwrap();
    assert!(claimed.is_none(), "it waits for the new end");

    settle(app.pool(), job, 1, &["invalid"]).await;
    let lease = app.store.claim(new_worker(), &[JobKind::Annotation], &long_terms()).await.unwrap().unwrap().1;
    app.store.finish(lease, &json!({})).await.unwrap();
    assert!(app.store.claim(new_worker(), &[JobKind::Distillation], &long_terms()).await.unwrap().is_some());
    let detail = app.post(&path(job), json!({"only": ["invalid"]})).await;
    assert!(detail.refused(409, "output_in_use", "").contains(&student.to_string()));
}

#[tokio::test]
async fn a_cancelled_annotation_that_is_asked_again_gets_a_new_result() {
    let app = TestApp::start().await;
    let file = app.file(&[json!({"input": "a"})]).await;
    let job = app.store.create_job(&new_job(annotation_of(file.parse().unwrap()))).await.unwrap().id;
    settle(app.pool(), job, 0, &["valid", "failed"]).await;
    app.store.cancel_job(Store::default_project(), job).await.unwrap();
    assert!(write_end_once(&app.worker()).await.unwrap());
    let old = app.get(&format!("/v1/jobs/{job}")).await.body["result"]["output_file"].clone();
    let again = app.post(&path(job), json!({"only": ["failed"]})).await.body;
    assert_eq!((&again["state"], &again["result"]), (&json!("queued"), &Value::Null));
    app.store.cancel_job(Store::default_project(), job).await.unwrap();
    assert!(write_end_once(&app.worker()).await.unwrap());
    let result = app.get(&format!("/v1/jobs/{job}")).await.body["result"].clone();
    assert_eq!(result["counts"]["total"], 1, "{result:#}");
    assert_ne!(result["output_file"], old);
    assert_eq!(app.get(&format!("/v1/files/{}", old.as_str().unwrap())).await.status, 200, "the old file stays");
    assert_eq!(app.store.job(Store::default_project(), job).await.unwrap().unwrap().state, JobState::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_teacher_is_asked_anew_about_what_went_wrong_and_about_nothing_else() {
    const ROWS: usize = 6;
    let (fleet, teacher) = (Fleet::begin().await, GatedTeacher::start().await);
    let (_worker, job) = annotate(&fleet, &teacher, ROWS).await;
    // Its answers have not the form that the task wants.
    teacher.let_through(100);
    let ended = fleet.client.until_ended(&job).await;
    assert_eq!(ended["result"]["counts"]["invalid"], json!(ROWS), "{ended:#}");
    let before = teacher.asked();
    sqlx::query("update annotations set status = 'failed' where example_index in (1, 4)")
        .execute(&fleet.database.pool)
        .await
        .unwrap();
    sqlx::query("update annotation_sums set invalid = invalid - 2, failed = failed + 2")
        .execute(&fleet.database.pool)
        .await
        .unwrap();
    fleet.client.post(&format!("/v1/jobs/{job}/retry"), &json!({"only": ["failed"]})).await;
    let ended = until("it has succeeded again", async || {
        let job = fleet.client.get(&format!("/v1/jobs/{job}")).await;
        (job["state"] == "succeeded").then_some(job)
    })
    .await;
    assert_eq!(
        (&ended["result"]["counts"]["invalid"], &ended["result"]["counts"]["failed"]),
        (&json!(ROWS), &json!(0))
    );
    let asked = teacher.asked();
    let anew: Vec<&String> = asked[before.len()..].iter().collect();
    assert!(
        !anew.is_empty() && anew.iter().all(|key| !before.contains(key)),
        "a teacher that repeats itself by the key is not asked in vain: {anew:?}"
    );
    let about = |place: usize| anew.iter().any(|key| key.contains(&format!("{job}-{place}-")));
    let places: Vec<usize> = (0..ROWS).filter(|&place| about(place)).collect();
    assert_eq!(places, [1, 4]);
}
