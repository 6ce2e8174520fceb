//! Two projects on one service: what belongs to the one is not there for the other, whatever it is asked for by.

use reqwest::Method;
use serde_json::{Value, json};
use stepwise::{
    clock::Clock,
    domain::{Checkpoint, KEY_ENTROPY, KeyText, ProjectId, Scope},
    store::NewApiKey,
};

use crate::support::{
    app::{Answer, TestApp},
    service::until,
};

/// A word that stands in everything of the first project.
const CANARY: &str = "canary";

/// A service with rows of one project, and a key of each.
struct Two {
    app: TestApp,
    owner: String,
    stranger: String,
    owned: Owned,
}

/// What there is of the first project, by the ids and names that clients have for it.
struct Owned {
    file: String,
    annotation: String,
    distillation: String,
    /// Names of the model: its own, its id, its job's, its checkpoint's by id and by name.
    models: Vec<String>,
    alias: String,
}

impl Two {
    async fn begin() -> Self {
        let app = TestApp::start().await;
        let file = app.file(&[json!({"input": CANARY, "label": "refund", "rationale": CANARY})]).await;
        let request = json!({"file": file, "teacher": "scripted", "metadata": {"of": CANARY}});
        let annotation = app.post("/v1/annotation-jobs", request).await.id();
        let job = app.distillation().await;
        let lease = app.claim(&job).await;
        let checkpoint = app.leave(lease, 4, None).await;
        let model = app.finish_under(lease, &job, "canary-1", None).await;
        let put = app
            .request(Method::PUT, "/v1/aliases/canary-live", |request| request.json(&json!({"model": "canary-1"})))
            .await;
        assert_eq!(put.status, 201, "{:#}", put.body);
        let models = vec![
            model.name.clone(),
            model.id.to_string(),
            job.id.to_string(),
            checkpoint.id.to_string(),
            Checkpoint::name_of("canary-1", 4),
            "canary-live".to_owned(),
        ];
        let owned =
            Owned { file, annotation, distillation: job.id.to_string(), models, alias: "canary-live".to_owned() };
        let owner = key(&app, "default").await;
        let stranger = key(&app, "another").await;
        until("the service wants keys", async || (app.get("/v1/jobs").await.status == 401).then_some(())).await;
        Self { app, owner, stranger, owned }
    }

    async fn ask(&self, key: &str, method: &Method, path: &str, body: &Value) -> Answer {
        self.app
            .request(method.clone(), path, |request| {
                let request = request.bearer_auth(key);
                if *method == Method::GET || *method == Method::DELETE { request } else { request.json(body) }
            })
            .await
    }
}

/// A key for everything in the project of this name.
async fn key(app: &TestApp, project: &str) -> String {
    let mut chance = [0; KEY_ENTROPY];
    getrandom::fill(&mut chance).unwrap();
    let project = app.store.project_named(project, ProjectId(Clock::system().new_id())).await.unwrap();
    let new = NewApiKey {
        key: KeyText::new(&chance),
        project,
        name: "a test".to_owned(),
        scopes: Scope::ALL.into(),
        lifetime: None,
    };
    app.store.create_api_key(&new).await.unwrap();
    new.key.reveal()
}

/// Every operation whose path names something: its method and its path with each id or name of the first project that fits.
fn asked(owned: &Owned) -> Vec<(Method, String)> {
    let document = serde_json::to_value(stepwise::api::openapi()).unwrap();
    let mut found = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap().iter().filter(|(path, _)| path.contains('{')) {
        let names: Vec<&String> = match path.split('/').nth(2).unwrap() {
            "files" => vec![&owned.file],
            "jobs" => vec![&owned.annotation, &owned.distillation],
            "fine_tuning" => vec![&owned.distillation],
            "aliases" => vec![&owned.alias],
            "models" => owned.models.iter().collect(),
            other => panic!("{path}: what is named under {other}?"),
        };
        for method in operations.as_object().unwrap().keys() {
            for name in &names {
                let path = path.replace("{id}", name).replace("{name}", name).replace("{version}", "fp_0000000000");
                let path = if path.ends_with("/statistics") { path + "?model=canary-1" } else { path };
                found.push((method.to_uppercase().parse().unwrap(), path));
            }
        }
    }
    found
}

/// A body that the operation takes.
fn body(path: &str) -> Value {
    if path.ends_with("/infer") {
        json!({"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}]})
    } else if path.contains("/aliases/") {
        json!({"model": "canary-1"})
    } else {
        json!({})
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_another_projects_is_not_there() {
    let two = Two::begin().await;
    let operations = asked(&two.owned);
    assert!(operations.len() > 60, "only {} operations were found", operations.len());
    for (method, path) in &operations {
        let answer = two.ask(&two.stranger, method, path, &body(path)).await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.body);
        // Whoever asks by a name is told that name; nothing else.
        let text = String::from_utf8_lossy(&answer.bytes);
        let asked = path.split('/').nth(3).unwrap_or_default();
        let said = text.replace(asked, "");
        let said = if *method == Method::PUT { said.replace("canary-1", "") } else { said };
        assert!(!said.contains(CANARY), "{method} {path}: {text}");
    }
    // The walk is not blind: its owner finds what can be looked at, and nothing of it was changed.
    for (method, path) in
        operations.iter().filter(|(method, path)| *method == Method::GET && !path.contains("/versions/"))
    {
        let answer = two.ask(&two.owner, method, path, &Value::Null).await;
        let is_there = answer.status == 200 || answer.status == 409 && path.ends_with("/report");
        assert!(is_there, "{path}: {} {}", answer.status, answer.body);
    }
    let job = two.ask(&two.owner, &Method::GET, &format!("/v1/jobs/{}", two.owned.annotation), &Value::Null).await;
    assert_eq!(
        (&job.body["state"], &job.body["cancel_requested"]),
        (&json!("queued"), &json!(false)),
        "{:#}",
        job.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_show_a_projects_own_alone() {
    let two = Two::begin().await;
    for path in ["/v1/files", "/v1/jobs", "/v1/fine_tuning/jobs", "/v1/models", "/v1/aliases", "/v1/audit-log"] {
        let own = two.ask(&two.owner, &Method::GET, path, &Value::Null).await;
        assert!(!own.body["data"].as_array().unwrap().is_empty(), "{path}: {:#}", own.body);
        let found = two.ask(&two.stranger, &Method::GET, path, &Value::Null).await;
        let data = found.body["data"].as_array().unwrap();
        let foreign: Vec<_> = data.iter().filter(|item| item["operation"] != "keys create").collect();
        assert!(
            found.status == 200 && foreign.is_empty() && !found.body.to_string().contains(CANARY),
            "{path}: {foreign:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_name_another_projects_things_are_refused_and_learn_nothing() {
    let two = Two::begin().await;
    let Owned { file, annotation, models, .. } = &two.owned;
    let student = json!({"from_scratch": {"vocabulary_size": 300, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}});
    let mut requests = vec![
        ("/v1/annotation-jobs", json!({"file": file, "teacher": "scripted"})),
        (
            "/v1/distillation-jobs",
            json!({"training": {"file": file}, "method": "standard", "label_source": "ground_truth", "task": "returns", "student": student}),
        ),
        (
            "/v1/distillation-jobs",
            json!({"training": {"annotation_job": annotation}, "method": "standard", "student": student}),
        ),
        ("/v1/fine_tuning/jobs", json!({"model": models[0], "training_file": file})),
        ("/v1/evaluation-jobs", json!({"file": file, "models": [models[0]]})),
    ];
    for model in models {
        requests.push(("/v1/predictions", json!({"model": model, "inputs": ["a"]})));
        requests.push(("/v1/completions", json!({"model": model, "prompt": "a"})));
        requests
            .push(("/v1/chat/completions", json!({"model": model, "messages": [{"role": "user", "content": "a"}]})));
    }
    // Near enough to be proposed, if it were there.
    requests.push(("/v1/predictions", json!({"model": "canari-1", "inputs": ["a"]})));
    for (path, request) in requests {
        let answer = two.ask(&two.stranger, &Method::POST, path, &request).await;
        assert!(
            [400, 404].contains(&answer.status) && answer.code().ends_with("not_found"),
            "{path}: {:#}",
            answer.body
        );
        let mut said = answer.body.to_string();
        for given in models.iter().chain([file, annotation]) {
            said = if request.to_string().contains(given.as_str()) { said.replace(given.as_str(), "") } else { said };
        }
        assert!(!said.contains(CANARY), "{path} {request}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_and_an_idempotency_key_are_each_projects_own() {
    let two = Two::begin().await;
    // Asked for a moment before by the owner, so that it is remembered.
    let ask = json!({"model": "canary-live", "inputs": ["a"]});
    assert_eq!(two.ask(&two.owner, &Method::POST, "/v1/predictions", &ask).await.status, 200);
    assert_eq!(two.ask(&two.stranger, &Method::POST, "/v1/predictions", &ask).await.status, 404);
    let upload = async |key: &str| {
        let form = "--b\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n--b\r\n\
             content-disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n{\"input\":\"a\"}\n\r\n--b--\r\n";
        let sent = two.app.request(Method::POST, "/v1/files", |request| {
            let request = request.bearer_auth(key).header("idempotency-key", "the-same");
            request.header("content-type", "multipart/form-data; boundary=b").body(form)
        });
        sent.await
    };
    let (one, other) = (upload(&two.owner).await, upload(&two.stranger).await);
    assert_eq!((one.status, other.status), (201, 201), "{:#}", other.body);
    assert_ne!(one.id(), other.id());
    assert!(other.headers.get("idempotent-replayed").is_none());
    assert_eq!(upload(&two.stranger).await.id(), other.id());
    let job = json!({"file": other.id(), "teacher": "scripted"});
    let job = two.ask(&two.stranger, &Method::POST, "/v1/annotation-jobs", &job).await;
    assert_eq!(job.status, 201, "{:#}", job.body);
    let path = format!("/v1/jobs/{}", job.id());
    assert_eq!(two.ask(&two.stranger, &Method::GET, &path, &Value::Null).await.status, 200);
    assert_eq!(two.ask(&two.owner, &Method::GET, &path, &Value::Null).await.status, 404);
}
