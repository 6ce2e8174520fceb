//! How an attempt of a worker ends when its work does not: a panic, a cancel while it waits for something slow, a task that
//! is thrown away.

use std::{
    ffi::CString,
    fs::{self, OpenOptions},
    os::unix::{
        ffi::OsStrExt,
        fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;
use sqlx::PgPool;
use stepwise::{
    domain::{Annotation, AnnotationStatus, FileStatus, Job, JobId, JobKind, JobState, Validation},
    shutdown::Shutdown,
    store::Store,
    teacher::{TeacherClient, TeacherSettings},
    worker::{Worker, work_once},
};

use crate::support::{
    app::TestApp,
    seed::{annotation_of, long_terms, new_file, new_job, new_worker, settle},
    service::until,
};

async fn read(app: &TestApp, id: JobId) -> Job {
    app.store.job(Store::default_project(), id).await.unwrap().unwrap()
}

async fn until_state(app: &TestApp, id: JobId, state: JobState) {
    until(&format!("the job is {state}"), async || (read(app, id).await.state == state).then_some(())).await;
}

/// The beats of an attempt listen to the worker's bell: nobody else does.
async fn until_nobody_beats(worker: &Worker) {
    until("the beats end", async || (Arc::strong_count(&worker.wake) == 1).then_some(())).await;
}

fn work(worker: &Arc<Worker>, kind: JobKind) -> tokio::task::JoinHandle<bool> {
    let worker = Arc::clone(worker);
    tokio::spawn(async move { work_once(&worker, &[kind], &Shutdown::new()).await.unwrap() })
}

#[tokio::test]
async fn a_panic_costs_an_attempt_and_neither_the_job_nor_the_lane() {
    let app = TestApp::start().await;
    // A row that contradicts itself, as only a hand can write it: the arithmetic on it panics.
    let mut file = new_file();
    file.status = FileStatus::Error;
    file.validation = Validation { rows: 0, valid_rows: 1, ..Validation::default() };
    let file = app.store.insert_file(&file, None).await.unwrap();
    let job = app.store.create_job(&new_job(annotation_of(file.id))).await.unwrap();
    let worker = app.worker();
    assert!(work(&worker, JobKind::Annotation).await.unwrap());
    let job = read(&app, job.id).await;
    let error = job.error.unwrap();
    assert_eq!((job.state, job.attempt, error.code.as_str()), (JobState::Queued, 1, "internal"));
    assert!(error.message.contains("overflow"), "{error}");
    until_nobody_beats(&worker).await;
}

/// A stored file that nobody can open until the test is over.
struct Stuck(PathBuf);

impl Stuck {
    fn in_place_of(path: &Path) -> Self {
        fs::remove_file(path).unwrap();
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: the name is a C string that outlives the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        Self(path.to_owned())
    }
}

impl Drop for Stuck {
    /// Lets go of every thread that waits to open it, now or later.
    fn drop(&mut self) {
        let both_ends = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&self.0);
        std::mem::forget(both_ends);
    }
}

/// A distillation whose rows cannot be brought, and what holds them back.
async fn stuck_distillation(app: &TestApp) -> (JobId, Stuck) {
    let row = json!({"input": "a", "label": "refund", "teacher_label": "refund", "rationale": "r"});
    let file = app.file(&[row]).await;
    let request = json!({"training": {"file": file}, "student": {"from_scratch": {}}, "task": "returns"});
    let job = app.post("/v1/distillation-jobs", request).await.id().parse().unwrap();
    let file = app.store.file(Store::default_project(), file.parse().unwrap()).await.unwrap().unwrap();
    (job, Stuck::in_place_of(&app.artifacts_dir.join(file.artifact_key)))
}

/// A program that dies as one does that finds no memory, the first times that it is run, and then is ours.
fn dying_program(folder: &Path, deaths: u32) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    let (path, count) = (folder.join("dying"), folder.join("deaths"));
    let script = format!(
        "#!/bin/bash\necho >> {count}\nif [ $(wc -l < {count}) -le {deaths} ]; then\n  \
         echo 'memory allocation of 1073741824 bytes failed' >&2; kill -ABRT $$\nfi\nexec {ours} \"$@\"\n",
        count = count.display(),
        ours = env!("CARGO_BIN_EXE_stepwise"),
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A small training, of so many examples at once, whose process dies of memory so often.
async fn trained_after(deaths: u32, batch_size: u32) -> (TestApp, JobId) {
    let app = TestApp::start().await;
    let row = |row: usize| json!({"input": format!("row {row}"), "label": "refund", "teacher_label": "refund", "rationale": "r"});
    let file = app.file(&(0..20).map(row).collect::<Vec<_>>()).await;
    let shape = json!({"vocabulary_size": 64, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2});
    let request = json!({"training": {"file": file}, "student": {"from_scratch": shape}, "task": "returns",
        "hyperparameters": {"max_steps": 2, "eval_steps": 2, "batch_size": batch_size, "threads": 1}});
    let job = app.post("/v1/distillation-jobs", request).await.id().parse().unwrap();
    let mut worker = Arc::into_inner(app.worker()).unwrap();
    worker.program = dying_program(&app.models_dir, deaths);
    assert!(work(&Arc::new(worker), JobKind::Distillation).await.unwrap());
    (app, job)
}

/// Examples that were computed at once after each death.
async fn halved(app: &TestApp, job: JobId) -> Vec<u64> {
    let events = app.get(&format!("/v1/jobs/{job}/events")).await.body;
    let told = events["data"].as_array().unwrap().iter().filter(|event| event["code"] == "micro_batch_halved");
    told.map(|event| event["data"]["is"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_training_that_died_of_memory_goes_on_with_half_as_many_examples_at_once() {
    let (app, job) = trained_after(2, 8).await;
    let trained = read(&app, job).await;
    assert_eq!((trained.state, trained.attempt), (JobState::Succeeded, 1), "{:?}", trained.error);
    app.contract.check_form("DistillationResult", &trained.result.unwrap());
    assert_eq!(halved(&app, job).await, [4, 2]);
}

#[tokio::test]
async fn a_training_that_dies_of_memory_with_a_single_example_fails() {
    let (app, job) = trained_after(u32::MAX, 64).await;
    let failed = read(&app, job).await;
    let error = failed.error.unwrap();
    assert_eq!((failed.state, error.code.as_str()), (JobState::Failed, "out_of_memory"), "{error}");
    assert_eq!(halved(&app, job).await, [32, 16, 8, 4, 2, 1]);
    assert!(error.hint.as_ref().unwrap().contains("gradient_checkpointing"), "{:?}", error.hint);
    assert!(error.message.contains("signal 6") && error.message.contains("memory allocation of"), "{error}");
}

#[tokio::test]
async fn a_cancel_does_not_wait_until_the_inputs_are_there() {
    let app = TestApp::start().await;
    let (job, _stuck) = stuck_distillation(&app).await;
    let worker = app.worker();
    let working = work(&worker, JobKind::Distillation);
    until_state(&app, job, JobState::Running).await;
    app.store.cancel_job(Store::default_project(), job).await.unwrap();
    worker.wake.notify_one();
    until_state(&app, job, JobState::Cancelled).await;
    assert!(working.await.unwrap());
}

#[tokio::test]
async fn an_attempt_that_is_thrown_away_no_longer_renews_its_lease() {
    let app = TestApp::start().await;
    let (job, _stuck) = stuck_distillation(&app).await;
    let worker = app.worker();
    let working = work(&worker, JobKind::Distillation);
    until_state(&app, job, JobState::Running).await;
    until("it beats", async || (Arc::strong_count(&worker.wake) > 1).then_some(())).await;
    working.abort();
    until_nobody_beats(&worker).await;
}

/// Waits until the statement of this name waits for a lock.
async fn until_waiting(pool: &PgPool, statement: &str) {
    let waiting = "select exists (
        select from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and query like '%-- ' || $1 || '%')";
    until(&format!("{statement} waits"), async || {
        let waits: bool = sqlx::query_scalar(waiting).bind(statement).fetch_one(pool).await.unwrap();
        waits.then_some(())
    })
    .await;
}

/// An annotation job whose only answer an earlier attempt has settled.
async fn settled_annotation(app: &TestApp) -> JobId {
    let file = app.file(&[json!({"input": "a"})]).await;
    app.post("/v1/annotation-jobs", json!({"file": file, "teacher": "scripted"})).await;
    let claimed = app.store.claim(new_worker(), &[JobKind::Annotation], &long_terms()).await.unwrap();
    let lease = claimed.unwrap().1;
    let annotation = Annotation {
        example_index: 0,
        example_id: "line-1".to_owned(),
        input: "a".to_owned(),
        label: None,
        split: None,
        status: AnnotationStatus::Valid,
        reason: None,
        teacher_label: Some("yes".to_owned()),
        rationale: None,
        raw_output: None,
        input_tokens: 1,
        output_tokens: 1,
        latency_ms: 1,
        agreement: Some(1.0),
        ..Annotation::default()
    };
    settle(&app.store, lease, &annotation).await.unwrap();
    app.store.release(lease).await.unwrap();
    lease.job_id
}

#[tokio::test]
async fn a_cancel_does_not_wait_until_an_annotations_files_are_written() {
    let app = TestApp::start().await;
    let job = settled_annotation(&app).await;
    let mut worker = Arc::into_inner(app.worker()).unwrap();
    // It is asked nothing.
    let teacher = TeacherSettings::new("scripted", "http://127.0.0.1:9/v1", "model");
    worker.teachers = vec![TeacherClient::new(teacher).unwrap()];
    let worker = Arc::new(worker);

    // The last statement before the files waits, so that the first one of the files can be made to.
    let mut figures = app.pool().begin().await.unwrap();
    sqlx::query("lock table job_metrics in exclusive mode").execute(&mut *figures).await.unwrap();
    let working = work(&worker, JobKind::Annotation);
    until_waiting(app.pool(), "append_metrics").await;
    let mut answers = app.pool().begin().await.unwrap();
    sqlx::query("lock table annotations in access exclusive mode").execute(&mut *answers).await.unwrap();
    figures.rollback().await.unwrap();
    until_waiting(app.pool(), "list_annotations").await;

    app.store.cancel_job(Store::default_project(), job).await.unwrap();
    worker.wake.notify_one();
    until_state(&app, job, JobState::Cancelled).await;
    assert!(working.await.unwrap());
    answers.rollback().await.unwrap();
}
