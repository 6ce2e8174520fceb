//! What killed processes leave goes, and nothing else does.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use serde_json::json;
use stepwise::{
    api::tidy_once,
    registry::RegistryError,
    store::{Deletion, Snapshot, Store},
    worker::{Worker, remove_leftovers, sweep_once},
};

use crate::support::app::TestApp;

const DAY: Duration = Duration::from_secs(86_400);

/// Makes everything below a folder two days older.
fn age(path: &Path) {
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| age(&entry.unwrap().path()));
    }
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    File::open(path).unwrap().set_modified(modified - 2 * DAY).unwrap();
}

/// A file with its folders.
fn file(path: PathBuf) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "left").unwrap();
    path
}

async fn put(app: &TestApp, key: &str) -> PathBuf {
    app.state.artifacts.put(key, Bytes::from_static(b"left")).await.unwrap();
    app.artifacts_dir.join(key)
}

#[tokio::test]
async fn folders_of_attempts_that_are_over_go_and_those_of_running_ones_stay() {
    let app = TestApp::start().await;
    let (worker, scratch) = (app.worker(), app.models_dir.with_file_name("scratch"));
    let job = app.distillation().await;
    app.store.release(app.claim(&job).await).await.unwrap();
    let lease = app.claim(&job).await;
    let of = |name: &str| file(scratch.join(name).join("spec.json"));
    let live = of(&format!("{}-e{}", job.id, lease.epoch));
    let killed = of(&format!("{}-e1", job.id));
    let unknown = of("job-0199f3c2a5b87e4d9c1f2a3b4c5d6e7f-e7");
    let (half, not_ours) = (file(scratch.join("fingerprint-abc")), file(scratch.join("notes.txt")));
    remove_leftovers(&worker).await.unwrap();
    assert!([&live, &killed, &unknown, &half, &not_ours].iter().all(|path| path.exists()), "all of it is young");
    age(&scratch);
    let young = of("job-0199f3c2a5b87e4d9c1f2a3b4c5d6e7f-e8");
    remove_leftovers(&worker).await.unwrap();
    assert!([&live, &young, &not_ours].iter().all(|path| path.exists()));
    assert!(![&killed, &unknown, &half].iter().any(|path| path.exists()));
    assert!(!killed.parent().unwrap().exists());
}

#[tokio::test]
async fn artifacts_that_no_row_refers_to_go_and_the_others_stay() {
    let app = TestApp::start().await;
    let upload = app.file(&[json!({"input": "a"})]).await;
    let model = app.model("desk").await;
    let job = app.distillation().await;
    let first = app.claim(&job).await;
    let checkpoint = app.leave(first, 10, None).await;
    let prefix = format!("jobs/{}/e1/snapshot-5", job.id);
    let snapshot = Snapshot {
        lease_epoch: 1,
        step: 5,
        artifact_prefix: prefix.clone(),
        manifest_sha256: "ef".repeat(32),
        bytes: 4,
    };
    put(&app, &format!("{prefix}/state")).await;
    app.store.record_snapshot(first, &snapshot).await.unwrap();
    app.store.release(first).await.unwrap();
    app.claim(&job).await;
    let needed = app.artifact_files();
    let live = put(&app, &format!("jobs/{}/e2/checkpoint/config.json", job.id)).await;
    let mut left = Vec::new();
    for key in [
        "files/file-0199f3c2a5b87e4d9c1f2a3b4c5d6e7f".to_owned(),
        "files/file-0199f3c2a5b87e4d9c1f2a3b4c5d6e7f.fingerprint".to_owned(),
        format!("jobs/{}/e1/output.jsonl", job.id),
        format!("jobs/{}/e1/snapshot-4/state", job.id),
        format!("jobs/{}/e1/checkpoint-1/config.json", job.id),
        format!("jobs/{}/e2/checkpoint/config.json", model.job_id),
    ] {
        left.push(put(&app, &key).await);
    }
    remove_leftovers(&app.worker()).await.unwrap();
    assert!(left.iter().all(|path| path.exists()), "all of it is young");
    age(&app.artifacts_dir);
    let young = put(&app, "files/file-0199f3c2a5b87e4d9c1f2a3b4c5d6e80").await;
    remove_leftovers(&app.worker()).await.unwrap();
    assert_eq!(left.iter().filter(|path| path.exists()).collect::<Vec<_>>(), Vec::<&PathBuf>::new());
    assert_eq!(needed.iter().filter(|path| !path.exists()).collect::<Vec<_>>(), Vec::<&PathBuf>::new());
    assert!(live.exists() && young.exists() && app.artifacts_dir.join(&checkpoint.artifact_prefix).exists());
    assert_eq!(app.get(&format!("/v1/files/{upload}/content")).await.status, 200);
}

#[tokio::test]
async fn artifacts_of_another_database_are_left_alone() {
    let (app, other) = (TestApp::start().await, TestApp::start().await);
    let born_later = "update projects set created_at = created_at + interval '1 second'";
    sqlx::query(born_later).execute(other.pool()).await.unwrap();
    let id = app.file(&[json!({"input": "a"})]).await;
    remove_leftovers(&app.worker()).await.unwrap();
    age(&app.artifacts_dir);
    // A worker of the other database that was given the wrong folder.
    let stray = Worker { artifacts: app.rooms.artifacts.clone(), ..Arc::into_inner(other.worker()).unwrap() };
    remove_leftovers(&stray).await.unwrap();
    assert_eq!(app.get(&format!("/v1/files/{id}/content")).await.status, 200);
}

#[tokio::test]
async fn half_fetched_models_and_staged_uploads_go_when_nobody_has_touched_them_for_long() {
    let app = TestApp::start().await;
    let cache = app.models_dir.with_file_name("cache");
    let fetching = file(cache.join("fetching-1/model.safetensors"));
    let staged = file(app.artifacts_dir.join("jobs/job-1/e1/output.jsonl#1"));
    age(&cache);
    age(&app.artifacts_dir);
    let (begun, writing) = (file(cache.join("fetching-2/config.json")), file(app.artifacts_dir.join("files/file-1#2")));
    remove_leftovers(&app.worker()).await.unwrap();
    assert!(!fetching.exists() && !staged.exists());
    assert!(begun.exists() && writing.exists());
}

/// Takes a model away and makes sure that its files cannot be removed.
async fn stuck(app: &TestApp, name: &str) -> PathBuf {
    let model = app.model(name).await;
    app.store.delete_model(Store::default_project(), model.id).await.unwrap();
    let manifest = app.artifacts_dir.join(&model.artifact_prefix).join("manifest.json");
    fs::remove_file(&manifest).unwrap();
    file(manifest.join("in the way"));
    manifest
}

#[tokio::test]
async fn files_that_cannot_be_removed_do_not_hold_up_the_others() {
    let app = TestApp::start().await;
    let project = Store::default_project();
    let stuck = stuck(&app, "stuck").await;
    let model = app.model("gone").await;
    assert_eq!(app.post("/v1/predictions", json!({"model": "gone", "inputs": ["late"]})).await.status, 200);
    let deleted = app.store.delete_model(project, model.id).await.unwrap();
    assert!(matches!(deleted, Deletion::Deleted(_)));
    let copies = || fs::read_dir(app.models_dir.with_file_name("cache")).unwrap().count();
    assert_eq!(copies(), 1);
    let swept = sweep_once(&app.worker()).await;
    assert!(matches!(swept, Err(RegistryError::Artifact(_))), "{swept:?}");
    assert!(!app.artifacts_dir.join(&model.artifact_prefix).exists());
    assert_eq!((copies(), app.store.unpurged(None, 10).await.unwrap().len()), (0, 1));
    fs::remove_dir_all(stuck).unwrap();
    sweep_once(&app.worker()).await.unwrap();
    assert_eq!(app.store.unpurged(None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn bytes_that_a_crash_left_behind_a_deleted_file_are_swept() {
    let app = TestApp::start().await;
    let (stuck, gone) = (app.file(&[json!({"input": "a"})]).await, app.file(&[json!({"input": "b"})]).await);
    // Its bytes cannot be removed: a folder is in their place.
    let bytes = app.artifacts_dir.join("files").join(&stuck);
    fs::remove_file(&bytes).unwrap();
    file(bytes.join("in the way"));
    assert_eq!(app.delete(&format!("/v1/files/{stuck}")).await.status, 200);
    // What a process leaves that dies between the row and the bytes.
    app.store.delete_file(Store::default_project(), gone.parse().unwrap()).await.unwrap();
    assert_eq!(app.store.unpurged_files(None, 10).await.unwrap().len(), 2);
    sweep_once(&app.worker()).await.unwrap_err();
    let left: Vec<_> = app.store.unpurged_files(None, 10).await.unwrap().into_iter().map(|file| file.id).collect();
    assert_eq!(left, [stuck.parse().unwrap()]);
    assert!(!app.artifact_files().iter().any(|path| path.to_string_lossy().contains(&gone)));
    fs::remove_dir_all(bytes).unwrap();
    sweep_once(&app.worker()).await.unwrap();
    assert_eq!((app.store.unpurged_files(None, 10).await.unwrap(), app.artifact_files().len()), (Vec::new(), 0));
}

#[tokio::test]
async fn a_deleted_file_is_noted_as_purged_at_once() {
    let app = TestApp::start().await;
    let id = app.file(&[json!({"input": "a"})]).await;
    assert_eq!(app.delete(&format!("/v1/files/{id}")).await.status, 200);
    assert_eq!((app.artifact_files().len(), app.store.unpurged_files(None, 10).await.unwrap()), (0, Vec::new()));
}

#[tokio::test]
async fn a_serving_process_puts_copies_of_removed_models_away_without_a_worker() {
    let app = TestApp::start().await;
    let model = app.model("desk").await;
    assert_eq!(app.post("/v1/predictions", json!({"model": "desk", "inputs": ["late"]})).await.status, 200);
    let cache = app.models_dir.with_file_name("cache");
    let fetching = file(cache.join("fetching-1/config.json"));
    age(&cache);
    tidy_once(&app.state).await.unwrap();
    assert!(!fetching.exists() && cache.join(&model.manifest_sha256).exists());
    app.store.delete_model(Store::default_project(), model.id).await.unwrap();
    tidy_once(&app.state).await.unwrap();
    assert_eq!(fs::read_dir(cache).unwrap().count(), 0);
}
