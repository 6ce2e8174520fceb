//! Models by Hub id through the API and a worker: trained from, evaluated, served, and pinned to the commit that was found
//! first.

use serde_json::{Value, json};
use stepwise::{
    domain::{HubCommit, JobKind, JobState, LabelSet},
    hub::Hub,
    store::Store,
};
use tokio::sync::watch;

use crate::support::{
    app::TestApp,
    hub::{Asked, HubServer, Instead},
    student::{desk_labels, write_student_to},
};

const ID: &str = "google/t5-tiny";

/// The API and a worker on a Hub with one tiny student.
struct Scene {
    app: TestApp,
    server: HubServer,
    commit: HubCommit,
}

impl Scene {
    async fn begin() -> Self {
        let server = HubServer::start().await;
        let commit = put(&server, 7);
        let app = TestApp::start_with_hub(|cache| server.hub(cache)).await;
        Self { app, server, commit }
    }

    fn hub(&self) -> &Hub {
        self.app.rooms.registry.hub()
    }

    async fn submit(&self, student: &str) -> String {
        let labels = ["refund", "reject"];
        let row = |at: usize| json!({"input": format!("order {at} came late"), "label": labels[at % 2]});
        let file = self.app.file(&(0..12).map(row).collect::<Vec<_>>()).await;
        let request = json!({
            "training": {"file": file}, "student": student, "method": "standard", "label_source": "ground_truth",
            "hyperparameters": {"max_steps": 2, "batch_size": 4, "eval_steps": 1000},
        });
        let submitted = self.app.post("/v1/distillation-jobs", request).await;
        assert_eq!(submitted.status, 201, "{:#}", submitted.body);
        submitted.id()
    }

    /// Works on a distillation and gives its model.
    async fn trained(&self, job: &str) -> Value {
        self.app.work_on(JobKind::Distillation).await;
        let ended = self.app.get(&format!("/v1/jobs/{job}")).await.body;
        assert_eq!(ended["state"], "succeeded", "{:#}", ended["error"]);
        self.app.get(&format!("/v1/models/{job}")).await.body
    }

    async fn events(&self, job: &str) -> Vec<Value> {
        self.app.get(&format!("/v1/jobs/{job}/events")).await.body["data"].as_array().unwrap().clone()
    }
}

/// Puts a tiny student there as what `main` means now.
fn put(server: &HubServer, seed: u64) -> HubCommit {
    let folder = tempfile::tempdir().unwrap();
    write_student_to(folder.path(), desk_labels(), seed);
    server.put(ID, "main", folder.path())
}

fn downloads(asked: &[Asked]) -> usize {
    asked.iter().filter(|asked| asked.of_storage).count()
}

fn data<'a>(events: &'a [Value], code: &str) -> Option<&'a Value> {
    events.iter().find(|event| event["code"] == code).map(|event| &event["data"])
}

#[tokio::test]
async fn a_student_is_downloaded_once_and_the_model_names_its_id_and_commit() {
    let scene = Scene::begin().await;
    let job = scene.submit("google/t5-tiny@main").await;
    let spec = scene.app.get(&format!("/v1/jobs/{job}")).await.body["spec"].clone();
    assert_eq!((&spec["student"], &spec["student_target"]), (&json!({"model": ID}), &json!({"hub": ID})));
    assert_eq!(scene.server.asked(), [], "nothing is asked when a job is submitted");
    let model = scene.trained(&job).await;
    let lineage = &model["lineage"];
    assert_eq!((&lineage["base"], &lineage["base_commit"]), (&json!(ID), &json!(scene.commit)), "{lineage:#}");
    assert!(model["id"].as_str().unwrap().starts_with("google-t5-tiny-standard-"), "{}", model["id"]);
    let events = scene.events(&job).await;
    let commit = json!(scene.commit);
    assert_eq!(data(&events, "hub_commit").unwrap()["commit"], commit);
    assert_eq!(data(&events, "download_started").unwrap()["commit"], commit);
    let finished = data(&events, "download_finished").unwrap();
    assert_eq!((&finished["model"], &finished["commit"]), (&json!(ID), &commit));
    let bytes = data(&events, "download_started").unwrap()["bytes"].as_u64().unwrap();
    assert!(finished["bytes"] == bytes && bytes > 1000 && finished["seconds"].as_f64().unwrap() > 0.0, "{finished}");

    scene.server.asked();
    let second = scene.submit(ID).await;
    scene.trained(&second).await;
    assert_eq!(scene.server.asked().len(), 1, "what main means now, and nothing else");
    assert_eq!(data(&scene.events(&second).await, "download_started"), None);
    let export = scene.app.get(&format!("/v1/models/{job}/export")).await;
    let card = String::from_utf8_lossy(&export.bytes).into_owned();
    assert!(card.contains(&format!("base_model: \"{ID}\"")) && card.contains(scene.commit.as_str()), "{card}");
}

#[tokio::test]
async fn a_later_attempt_trains_from_the_commit_that_the_first_one_found() {
    let scene = Scene::begin().await;
    let job = scene.submit(ID).await;
    for _ in 0..3 {
        scene.server.instead("GET /google/t5-tiny/resolve/", Instead::Status(503, "retry-after", "0"));
    }
    scene.app.work_on(JobKind::Distillation).await;
    let id = job.parse().unwrap();
    let waiting = scene.app.store.job(Store::default_project(), id).await.unwrap().unwrap();
    assert_eq!((waiting.state, waiting.error.unwrap().code.as_str()), (JobState::Queued, "hub_error"));
    let moved = put(&scene.server, 8);
    assert_ne!(moved, scene.commit);
    let due = "update jobs set run_at = clock_timestamp() where id = $1";
    sqlx::query(due).bind(id.0).execute(scene.app.pool()).await.unwrap();
    let model = scene.trained(&job).await;
    assert_eq!(model["lineage"]["base_commit"], json!(scene.commit));
    let later = scene.submit(ID).await;
    assert_eq!(scene.trained(&later).await["lineage"]["base_commit"], json!(moved), "another job looks anew");
}

#[tokio::test]
async fn what_the_hub_refuses_ends_the_job_with_the_remedy() {
    let scene = Scene::begin().await;
    let job = scene.submit("google/t5-tinny").await;
    scene.app.work_on(JobKind::Distillation).await;
    let ended = scene.app.get(&format!("/v1/jobs/{job}")).await.body;
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("failed"), &json!("hub_not_found")), "{ended:#}");
    assert!(ended["error"]["message"].as_str().unwrap().contains("HF_TOKEN"), "{ended:#}");
    for student in ["google/t5/tiny", "google/..", "google/t5-tiny@../x"] {
        let request = json!({"training": {"file": "file-0199f3c2a5b87e4d9c1f2a3b4c5d6e7f"}, "student": student});
        let refused = scene.app.post("/v1/distillation-jobs", request).await;
        let detail = refused.refused(400, "student_not_found", "#/student");
        assert!(detail.contains("owner/name@revision"), "{detail}");
    }
}

#[tokio::test]
async fn a_model_in_the_cache_is_served_by_its_id_and_no_request_downloads() {
    let scene = Scene::begin().await;
    let app = &scene.app;
    let ask = async || app.post("/v1/predictions", json!({"model": ID, "inputs": ["the order came late"]})).await;
    let missing = ask().await;
    assert_eq!((missing.status, missing.code()), (404, "model_not_found"));
    assert!(missing.detail().contains("stepwise fetch google/t5-tiny"), "{}", missing.detail());
    let path = "/v1/models/google%2Ft5-tiny";
    assert_eq!(app.get(path).await.status, 404);
    assert_eq!(scene.server.asked(), []);

    scene.hub().fetch(&ID.parse().unwrap(), &watch::Sender::new(None)).await.unwrap();
    let answer = ask().await;
    assert_eq!((answer.status, &answer.body["model"]), (200, &json!(ID)), "{:#}", answer.body);
    let registry = &app.rooms.registry;
    let source = registry.find(Store::default_project(), ID).await.unwrap().unwrap();
    let loaded = registry.open(&source).await.unwrap();
    std::fs::write(loaded.directory.join("README.md"), "brought by another program").unwrap();
    assert_eq!(registry.open(&source).await.unwrap(), loaded, "a commit does not change, so nothing is loaded anew");
    let chat = json!({"model": ID, "messages": [{"role": "user", "content": "the order came late"}]});
    assert_eq!(app.post("/v1/chat/completions", chat).await.status, 200);
    let model = app.get(path).await.body;
    assert_eq!((&model["owned_by"], &model["commit"]), (&json!("hub"), &json!(scene.commit)), "{model:#}");
    let listed = app.get("/v1/models").await.body;
    assert_eq!(listed["data"][0]["id"], ID);
    assert_eq!(app.get("/v1/models?after=google%2Ft5-tiny").await.body["data"], json!([]));
    assert_eq!(app.get(&format!("{path}/export")).await.status, 200);
    let deleted = app.delete(path).await;
    assert_eq!((deleted.status, deleted.code()), (409, "model_is_in_hub_cache"));
    let alias =
        app.request(reqwest::Method::PUT, "/v1/aliases/live", |request| request.json(&json!({"model": ID}))).await;
    alias.refused(400, "invalid_value", "#/model");
    let pinned = format!("/v1/models/google%2Ft5-tiny%40{}", scene.commit);
    assert_eq!(app.get(&pinned).await.status, 200);
}

#[tokio::test]
async fn damaged_weights_in_the_cache_are_refused_by_their_file_and_stay() {
    let scene = Scene::begin().await;
    scene.hub().fetch(&ID.parse().unwrap(), &watch::Sender::new(None)).await.unwrap();
    let registry = &scene.app.rooms.registry;
    let source = registry.find(Store::default_project(), ID).await.unwrap().unwrap();
    let weights = registry.open(&source).await.unwrap().directory.join("model.safetensors");
    let blob = std::fs::canonicalize(&weights).unwrap();
    // One bit of the last number: the file can still be read.
    let mut bytes = std::fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::remove_file(&blob).unwrap();
    std::fs::write(&blob, bytes).unwrap();
    let refused = scene.app.post("/v1/predictions", json!({"model": ID, "inputs": ["the order came late"]})).await;
    assert_eq!((refused.status, refused.code()), (400, "model_unusable"), "{:#}", refused.body);
    let digest = blob.file_name().unwrap().to_str().unwrap();
    for word in [digest, "sha256", "fetch"] {
        assert!(refused.detail().contains(word), "{}", refused.detail());
    }
    assert!(blob.exists(), "the cache is others' too");
}

#[tokio::test]
async fn pages_of_models_go_on_from_the_hubs() {
    let scene = Scene::begin().await;
    let sources = tempfile::tempdir().unwrap();
    write_student_to(sources.path(), LabelSet::Open, 3);
    for name in ["zeta/b", "alpha/a"] {
        scene.server.put(name, "main", sources.path());
        scene.hub().fetch(&name.parse().unwrap(), &watch::Sender::new(None)).await.unwrap();
    }
    crate::support::student::write_student(&scene.app, "folder", LabelSet::Open);
    let (mut after, mut seen) = (String::new(), Vec::new());
    loop {
        let page = scene.app.get(&format!("/v1/models?limit=1{after}")).await.body;
        let id = page["data"][0]["id"].as_str().unwrap().to_owned();
        after = format!("&after={}", id.replace('/', "%2F"));
        seen.push(id);
        if page["has_more"] == false {
            break;
        }
    }
    assert_eq!(seen, ["folder", "alpha/a", "zeta/b"]);
}

#[tokio::test]
async fn an_evaluation_downloads_its_models_and_pins_them() {
    let scene = Scene::begin().await;
    let row = |at: usize| json!({"input": format!("order {at} came late"), "label": "refund"});
    let file = scene.app.file(&(0..5).map(row).collect::<Vec<_>>()).await;
    let request = json!({"file": file, "models": [ID], "task": "text"});
    let submitted = scene.app.post("/v1/evaluation-jobs", request.clone()).await;
    assert_eq!(submitted.status, 201, "{:#}", submitted.body);
    let twice = json!({"file": file, "models": [ID, "google/t5-tiny@main"]});
    scene.app.post("/v1/evaluation-jobs", twice).await.refused(400, "duplicate_model", "#/models/1");
    let untold = json!({"file": file, "models": [ID]});
    let answer = scene.app.post("/v1/evaluation-jobs", untold.clone()).await;
    assert!(answer.refused(400, "missing_field", "#/task").contains("is not on this machine"), "{:#}", answer.body);
    scene.app.work_on(JobKind::Evaluation).await;
    let job = submitted.id();
    let ended = scene.app.get(&format!("/v1/jobs/{job}")).await.body;
    assert_eq!(
        (&ended["state"], &ended["result"]["models"][0]["model"]),
        (&json!("succeeded"), &json!(ID)),
        "{ended:#}"
    );
    let events = scene.events(&job).await;
    assert_eq!(data(&events, "hub_commit").unwrap()["commit"], json!(scene.commit));
    assert!(data(&events, "download_finished").is_some() && downloads(&scene.server.asked()) > 0);
    let told = scene.app.post("/v1/evaluation-jobs?dry_run=true", untold).await;
    assert_eq!(told.body["spec"]["task"]["name"], "returns", "its own stepwise.json tells: {:#}", told.body);
}

#[tokio::test]
async fn an_offline_machine_says_at_submission_what_it_lacks() {
    let server = HubServer::start().await;
    put(&server, 7);
    let app = TestApp::start_with_hub(|cache| server.hub_with(cache, |settings| settings.offline = true)).await;
    let scene = Scene { commit: put(&server, 7), app, server };
    let job = scene.submit(ID).await;
    let warnings = scene.app.get(&format!("/v1/jobs/{job}")).await.body["warnings"].clone();
    assert_eq!(warnings[0]["code"], "hub_offline", "{warnings:#}");
    assert!(warnings[0]["message"].as_str().unwrap().contains("stepwise fetch google/t5-tiny"), "{warnings:#}");
    scene.app.work_on(JobKind::Distillation).await;
    let ended = scene.app.get(&format!("/v1/jobs/{job}")).await.body;
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("failed"), &json!("hub_offline")));
    assert_eq!(scene.server.asked(), []);
}
