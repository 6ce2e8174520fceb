//! A training whose database goes away between its last step and its end.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;
use stepwise::{
    domain::{JobId, JobKind, JobState},
    shutdown::Shutdown,
    store::Store,
    worker::work_once,
};

use crate::support::{
    app::TestApp,
    service::{BINARY, until},
};

/// A program that trains, tells an event of the code `trained`, and holds its last frame back until the file `go` is there.
fn patient_program(folder: &Path) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    let (path, frames, go) = (folder.join("patient"), folder.join("frames"), folder.join("go"));
    let event = json!({"frame": "event", "level": "info", "code": "trained", "message": "it waits", "data": {}});
    let script = format!(
        "#!/bin/bash\n{BINARY} \"$@\" > {frames}\nhead -n -1 {frames}\necho '{event}'\n\
         for _ in $(seq 2400); do [ -e {go} ] && break; sleep 0.05; done\ntail -n 1 {frames}\n",
        frames = frames.display(),
        go = go.display(),
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A small training of so many steps, each of which has figures.
async fn submitted(app: &TestApp, steps: u32) -> JobId {
    let row = |row: usize| json!({"input": format!("row {row}"), "label": "refund", "teacher_label": "refund", "rationale": "r"});
    let file = app.file(&(0..20).map(row).collect::<Vec<_>>()).await;
    let shape = json!({"vocabulary_size": 64, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2});
    let request = json!({"training": {"file": file}, "student": {"from_scratch": shape}, "task": "returns",
        "hyperparameters": {"max_steps": steps, "eval_steps": steps, "batch_size": 4, "threads": 1}});
    app.post("/v1/distillation-jobs", request).await.id().parse().unwrap()
}

/// Whether a file of figures is being written.
fn figures_are_begun(folder: &Path) -> bool {
    let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with("step_metrics-"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trained_student_outlasts_an_outage_before_its_figures_are_written() {
    let (app, mut cable) = TestApp::start_on_cable().await;
    let job = submitted(&app, 2).await;
    let mut worker = Arc::into_inner(app.worker()).unwrap();
    worker.program = patient_program(&app.models_dir.with_file_name("program"));
    let worker = Arc::new(worker);
    let working = tokio::spawn(async move { work_once(&worker, &[JobKind::Distillation], &Shutdown::new()).await });
    until("it is trained", async || {
        let events = app.get(&format!("/v1/jobs/{job}/events?limit=1000")).await.body;
        events["data"].as_array().unwrap().iter().any(|event| event["code"] == "trained").then_some(())
    })
    .await;
    cable.cut();
    fs::write(app.models_dir.with_file_name("program").join("go"), "").unwrap();
    let stored = app.artifacts_dir.join(format!("jobs/{job}/e1"));
    until("its checkpoint is stored and its figures are begun", async || {
        (stored.join("checkpoint/manifest.json").exists() && figures_are_begun(&stored)).then_some(())
    })
    .await;
    cable.mend();
    assert!(working.await.unwrap().unwrap());
    let job = app.store.job(Store::default_project(), job).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempt), (JobState::Succeeded, 1), "{:?}", job.error);
    let file = job.result.unwrap()["metrics_file"].as_str().unwrap().to_owned();
    let shown = app.get(&format!("/v1/files/{file}")).await.body;
    let purpose = (&shown["filename"], &shown["purpose"], &shown["status"]);
    assert_eq!(purpose, (&json!("step_metrics.csv"), &json!("fine-tune-results"), &json!("processed")), "{shown:#}");
}
