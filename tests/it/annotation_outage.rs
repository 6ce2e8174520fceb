//! An annotation whose database goes away in the midst of it, and one that is cancelled.

use std::sync::Arc;

use serde_json::json;
use stepwise::{
    domain::{JobId, JobKind, JobState},
    shutdown::Shutdown,
    store::Store,
    teacher::{TeacherClient, TeacherSettings},
    worker::{Worker, work_once},
};

use crate::support::{app::TestApp, service::until, teacher::GatedTeacher};

/// A worker that asks the gated teacher, four questions at once.
fn worker_of(app: &TestApp, teacher: &GatedTeacher) -> Arc<Worker> {
    let mut worker = Arc::into_inner(app.worker()).unwrap();
    let mut settings = TeacherSettings::new("scripted", &format!("http://{}/v1", teacher.address), "m");
    settings.max_concurrency = 4;
    worker.teachers = vec![TeacherClient::new(settings).unwrap()];
    Arc::new(worker)
}

/// A submitted annotation of so many rows.
async fn submitted(app: &TestApp, rows: usize) -> JobId {
    let rows: Vec<_> = (0..rows).map(|row| json!({"input": format!("question {row}")})).collect();
    let file = app.file(&rows).await;
    let request = json!({"file": file, "teacher": "scripted", "repair": false});
    app.post("/v1/annotation-jobs", request).await.id().parse().unwrap()
}

async fn until_asked(teacher: &GatedTeacher, count: usize) {
    until("the questions are out", async || (teacher.asked().len() == count).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_come_while_the_database_is_away_are_kept_and_nothing_is_sent_unwritten() {
    const ROWS: usize = 12;
    let ((app, mut cable), teacher) = (TestApp::start_on_cable().await, GatedTeacher::start().await);
    let job = submitted(&app, ROWS).await;
    let worker = worker_of(&app, &teacher);
    let working = tokio::spawn(async move { work_once(&worker, &[JobKind::Annotation], &Shutdown::new()).await });
    until_asked(&teacher, 4).await;
    cable.cut();
    teacher.let_through(ROWS);
    until("the answers are on their way", async || (teacher.answered().len() >= 4).then_some(())).await;
    // A fifth may have been written down and have waited for its turn.
    assert!(teacher.asked().len() <= 5, "no question is sent that cannot be written down");
    cable.mend();
    assert!(working.await.unwrap().unwrap());
    let job = app.store.job(Store::default_project(), job).await.unwrap().unwrap();
    let result = job.result.unwrap();
    assert_eq!((job.state, &result["counts"]["total"]), (JobState::Succeeded, &json!(ROWS)));
    assert_eq!((&result["calls"]["answered"], &result["calls"]["unknown"]), (&json!(ROWS), &json!(0)), "{result:#}");
    assert_eq!(teacher.asked().len(), ROWS, "nothing is asked twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_sends_no_further_question_and_counts_those_that_were_out() {
    let (app, teacher) = (TestApp::start().await, GatedTeacher::start().await);
    let job = submitted(&app, 40).await;
    let worker = worker_of(&app, &teacher);
    let wake = Arc::clone(&worker.wake);
    let working = tokio::spawn(async move { work_once(&worker, &[JobKind::Annotation], &Shutdown::new()).await });
    until_asked(&teacher, 4).await;
    teacher.let_through(3);
    until("three are settled", async || {
        (app.store.annotation_sums(job).await.unwrap().settled() == 3 && teacher.asked().len() == 7).then_some(())
    })
    .await;
    app.store.cancel_job(Store::default_project(), job).await.unwrap();
    wake.notify_one();
    assert!(working.await.unwrap().unwrap());
    let over = app.store.job(Store::default_project(), job).await.unwrap().unwrap();
    assert_eq!(over.state, JobState::Cancelled);
    let sums = app.store.annotation_sums(job).await.unwrap();
    assert_eq!((sums.settled(), sums.answered_calls, sums.unknown_calls, sums.reserved.total()), (3, 3, 4, 0));
    assert_eq!(teacher.asked().len(), 7, "nothing is asked after the cancel");
}
