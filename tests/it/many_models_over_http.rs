//! Many models behind the API: pinned ones, files that are not what was published, and checkpoints of trainings that go on.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use stepwise::{
    api::{AppState, Rooms, keep_pinned_once, router, warm_up_once},
    domain::{Model, ModelTarget, StudentSource},
    registry::Registry,
    store::{SetAlias, Store},
};
use tower::ServiceExt;

use crate::{
    alias_moves::{ask, put},
    support::{
        app::TestApp,
        fleet::Fleet,
        service::until,
        student::{desk_labels, write_student},
    },
};

/// The weights of a model's copy on this machine.
fn copied_weights(app: &TestApp, model: &Model) -> PathBuf {
    app.models_dir.with_file_name("cache").join(&model.manifest_sha256).join("model.safetensors")
}

/// The weights that were published.
fn published_weights(app: &TestApp, model: &Model) -> PathBuf {
    app.artifacts_dir.join(&model.artifact_prefix).join("model.safetensors")
}

/// Turns one bit of the last number, so that the file can still be read.
fn flip_a_bit(path: &PathBuf) {
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn an_alias_that_answers_moves_to_what_is_loaded_and_not_to_what_cannot_be() {
    let app = TestApp::start().await;
    let (first, second) = (app.model("desk-1").await, app.model("desk-2").await);
    let broken = app.model("desk-3").await;
    flip_a_bit(&published_weights(&app, &broken));
    put(&app, "live", "desk-1").await;
    assert_eq!(ask(&app, "live").await.status, 200);
    assert!(app.state.engine.has(&first.manifest_sha256) && !app.state.engine.has(&second.manifest_sha256));
    assert_eq!(put(&app, "live", "desk-2").await.status, 200);
    assert!(app.state.engine.has(&second.manifest_sha256), "the first request finds it in memory");
    let refused = put(&app, "live", "desk-3").await;
    assert_eq!((refused.status, refused.code()), (400, "model_unusable"));
    assert_eq!(app.get("/v1/aliases/live").await.body["model"], "desk-2");
    // Nobody waits for a model behind an alias that nobody asks.
    assert_eq!(put(&app, "idle", "desk-3").await.status, 201);
}

#[tokio::test]
async fn a_damaged_copy_is_never_loaded_and_fetched_anew() {
    let app = TestApp::start().await;
    let model = app.model("desk").await;
    let meant = ask(&app, "desk").await.body["data"].clone();
    flip_a_bit(&copied_weights(&app, &model));
    assert_eq!(ask(&app, "desk").await.body["data"], meant, "what is in memory was read before");
    // Two others take its room.
    for other in ["other-1", "other-2"] {
        app.model(other).await;
        assert_eq!(ask(&app, other).await.status, 200);
    }
    let refused = ask(&app, "desk").await;
    assert_eq!((refused.status, refused.code()), (503, "unavailable"), "{:#}", refused.body);
    assert!(refused.headers.contains_key("retry-after") && refused.detail().contains("copy"), "{}", refused.detail());
    assert_eq!(ask(&app, "desk").await.body["data"], meant);
}

/// Another process on the same database and the same copies, which has looked at none of them yet.
fn beside(app: &TestApp, other: &TestApp) -> AppState {
    let registry = Registry::new(
        app.store.clone(),
        app.rooms.artifacts.clone(),
        app.models_dir.clone(),
        app.models_dir.with_file_name("cache"),
        app.rooms.registry.hub().clone(),
    );
    AppState::new(Rooms { registry, engine: other.rooms.engine.clone(), ..app.rooms.clone() })
}

async fn ask_of(state: &AppState) -> (u16, Value) {
    let body = json!({"model": "desk", "inputs": ["late"], "include": ["label_probs"]});
    let request = Request::post("/v1/predictions").header("content-type", "application/json");
    let response = router(state.clone()).oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let answer = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&answer).unwrap())
}

#[tokio::test]
async fn a_copy_whose_card_cannot_be_read_stays_and_its_client_may_come_again() {
    let (app, other) = (TestApp::start().await, TestApp::start().await);
    let model = app.model("desk").await;
    let meant = ask(&app, "desk").await.body["data"][0].clone();
    let copy = copied_weights(&app, &model).parent().unwrap().to_owned();
    let (card, kept, state) = (copy.join("stepwise.json"), copy.join("kept"), beside(&app, &other));
    fs::rename(&card, &kept).unwrap();
    // The operating system says that it follows links in a circle: no file is read, and none is missing.
    symlink(&card, &card).unwrap();
    let (status, refused) = ask_of(&state).await;
    assert_eq!((status, &refused["error"]["code"]), (503, &json!("unavailable")), "{refused:#}");
    assert!(refused["detail"].as_str().unwrap().contains("cannot be read"), "{refused:#}");
    assert!(kept.exists(), "a copy that may be whole is thrown away");
    fs::rename(&kept, &card).unwrap();
    let (status, answer) = ask_of(&state).await;
    assert_eq!((status, &answer["data"][0]), (200, &meant), "{answer:#}");
}

#[tokio::test]
async fn a_card_that_is_not_what_was_published_is_not_believed() {
    let (app, other) = (TestApp::start().await, TestApp::start().await);
    let model = app.model("desk").await;
    let meant = ask(&app, "desk").await.body["data"][0].clone();
    let source = StudentSource::Registered(Box::new(model.clone()));
    let copy = app.rooms.registry.open(&source).await.unwrap().directory.join("stepwise.json");
    let mut card: Value = serde_json::from_slice(&fs::read(&copy).unwrap()).unwrap();
    card["task"]["label_set"] = json!({"fixed": ["yes", "no"]});
    fs::write(&copy, card.to_string()).unwrap();
    let (status, answer) = ask_of(&beside(&app, &other)).await;
    assert_eq!((status, &answer["data"][0]), (200, &meant));
    assert_ne!(fs::read_to_string(&copy).unwrap(), card.to_string(), "it was fetched anew");
}

#[tokio::test]
async fn what_a_name_means_is_not_looked_up_for_every_question_and_never_stale_for_long() {
    let (app, mut cable) = TestApp::start_on_cable().await;
    app.model("desk-1").await;
    let second = app.model("desk-2").await;
    put(&app, "live", "desk-1").await;
    // A machine that is busy for a second at the wrong moment forgets the name.
    let mut answered = false;
    for _ in 0..20 {
        assert_eq!(ask(&app, "live").await.status, 200);
        cable.cut();
        answered = ask(&app, "live").await.status == 200;
        cable.mend();
        until("the database is there", async || (app.get("/v1/aliases/live").await.status == 200).then_some(())).await;
        if answered {
            break;
        }
    }
    assert!(answered, "the database is asked for every question");
    // As another process does it.
    let moved = SetAlias { name: "live".to_owned(), target: ModelTarget::Model(second.id), model: second.name.clone() };
    app.store.put_alias(Store::default_project(), &moved).await.unwrap();
    until("the other process's move is seen", async || {
        (ask(&app, "live").await.body["model"] == "desk-2").then_some(())
    })
    .await;
    app.store.delete_alias(Store::default_project(), "live").await.unwrap();
    until("the other process's deletion is seen", async || (ask(&app, "live").await.status == 404).then_some(())).await;
}

#[tokio::test]
async fn what_was_damaged_where_it_was_published_is_refused_by_its_file() {
    let app = TestApp::start().await;
    let (broken, _good) = (app.model("broken").await, app.model("good").await);
    flip_a_bit(&published_weights(&app, &broken));
    for _ in 0..2 {
        let refused = ask(&app, "broken").await;
        assert_eq!((refused.status, refused.code()), (400, "model_unusable"));
        for word in ["model.safetensors", "sha256"] {
            assert!(refused.detail().contains(word), "{}", refused.detail());
        }
    }
    assert!(!copied_weights(&app, &broken).exists());
    assert_eq!(ask(&app, "good").await.status, 200);
}

/// The status and body of `/readyz` of a process with pinned models.
async fn readyz(state: &AppState) -> (u16, Value) {
    let request = Request::get("/readyz").body(Body::empty()).unwrap();
    let response = router(state.clone()).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn a_process_is_ready_when_its_pinned_models_are_and_keeps_them() {
    let app = TestApp::start().await;
    let (first, second) = (app.model("desk-1").await, app.model("desk-2").await);
    let state = AppState::new(Rooms { pinned: vec!["live".to_owned()], ..app.rooms.clone() });
    warm_up_once(&state).await.unwrap();
    let (status, body) = readyz(&state).await;
    assert_eq!((status, body["inference"].as_str().unwrap().contains("\"live\"")), (503, true), "{body:#}");
    // A name that is not there yet does not end the waiting for it.
    assert_eq!(keep_pinned_once(&state).await.len(), 1);
    let words = readyz(&state).await.1["inference"].to_string();
    assert!(words.contains("there is no model"), "{words}");
    put(&app, "live", "desk-1").await;
    assert!(keep_pinned_once(&state).await.is_empty());
    assert_eq!(readyz(&state).await.0, 200);
    for other in ["a", "b", "c"] {
        app.model(other).await;
        assert_eq!(ask(&app, other).await.status, 200);
        assert!(app.state.engine.has(&first.manifest_sha256));
    }
    put(&app, "live", "desk-2").await;
    assert!(app.state.engine.has(&second.manifest_sha256));
    assert!(keep_pinned_once(&state).await.is_empty());
    for other in ["a", "b", "c"] {
        assert_eq!(ask(&app, other).await.status, 200);
    }
    assert!(app.state.engine.has(&second.manifest_sha256) && !app.state.engine.has(&first.manifest_sha256));
    // One that is taken away later does not take the process out of service, and keeps no memory.
    app.delete("/v1/aliases/live").await;
    assert_eq!((keep_pinned_once(&state).await.len(), readyz(&state).await.0), (1, 200));
    for other in ["a", "b"] {
        assert_eq!(ask(&app, other).await.status, 200);
    }
    assert!(!app.state.engine.has(&second.manifest_sha256));
}

#[tokio::test]
async fn what_cannot_be_looked_up_at_the_moment_stays_pinned() {
    let (app, mut cable) = TestApp::start_on_cable().await;
    for folder in ["tiny", "other-1", "other-2"] {
        write_student(&app, folder, desk_labels());
    }
    let model = app.model("desk").await;
    put(&app, "live", "desk").await;
    let pinned = ["tiny", "live"].map(str::to_owned).to_vec();
    let state = AppState::new(Rooms { pinned, ..app.rooms.clone() });
    assert!(keep_pinned_once(&state).await.is_empty());
    cable.cut();
    let faults: Vec<String> = keep_pinned_once(&state).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(faults, ["live"]);
    // Two others would take its room.
    for other in ["other-1", "other-2"] {
        assert_eq!((ask(&app, other).await.status, app.state.engine.has(&model.manifest_sha256)), (400, true));
    }
    cable.mend();
    until("the database is there", async || (app.get("/v1/aliases/live").await.status == 200).then_some(())).await;
    assert!(keep_pinned_once(&state).await.is_empty());
    app.delete("/v1/aliases/live").await;
    assert_eq!(keep_pinned_once(&state).await.len(), 1);
    assert_eq!((ask(&app, "other-1").await.status, app.state.engine.has(&model.manifest_sha256)), (200, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_that_goes_on_answers_by_its_checkpoints() {
    let fleet = Fleet::begin().await;
    let job = fleet.training_with(json!({"max_steps": 1_000_000, "eval_steps": 20, "checkpoint_every": 20})).await;
    let _worker = fleet.worker("worker");
    let name = until("a checkpoint is there", async || {
        let list = fleet.client.get(&format!("/v1/jobs/{job}/checkpoints")).await;
        list["data"][0]["model"].as_str().map(str::to_owned)
    })
    .await;
    assert!(name.starts_with(&format!("{job}:ckpt-step-")), "{name}");
    let answer = fleet.client.post("/v1/predictions", &json!({"model": name, "inputs": ["late"]})).await;
    assert!(answer["model"] == *name && answer["data"][0]["label"].is_string(), "{answer:#}");
    assert_eq!(fleet.client.get(&format!("/v1/jobs/{job}")).await["state"], "running");
}
