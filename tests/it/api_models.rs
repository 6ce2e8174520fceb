//! Models and predictions, with tiny random students.

use reqwest::Method;
use serde_json::{Value, json};
use stepwise::{
    domain::{JobId, JobKind, LabelSet, TrainingSource},
    store::{Deletion, NewJob, Store},
};

use crate::support::{
    app::TestApp,
    seed::{distillation_of, new_file, new_job},
    student::{desk_labels, write_student},
};

#[tokio::test]
async fn a_folder_below_models_dir_is_a_model_by_its_name() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/v1/models").await.body["data"], json!([]));
    write_student(&app, "tiny student", desk_labels());
    std::fs::create_dir_all(app.models_dir.join("not a model")).unwrap();
    let list = app.get("/v1/models").await.body;
    assert_eq!((&list["data"][0]["id"], list["data"].as_array().unwrap().len()), (&json!("tiny student"), 1));
    let model = app.get("/v1/models/tiny%20student").await.body;
    assert_eq!((&model["owned_by"], &model["missing_files"]), (&json!("models_dir"), &json!([])));
    let deleted = app.delete("/v1/models/tiny%20student").await;
    assert_eq!((deleted.status, deleted.code()), (409, "model_is_directory"));
    assert_eq!(deleted.headers["x-should-retry"], "false");
    let missing = app.get("/v1/models/tiny").await;
    assert_eq!((missing.status, missing.code()), (404, "model_not_found"));
    assert!(missing.detail().contains("tiny student"), "{}", missing.detail());
    for outside in ["..", "%2Fetc", "..%2Fartifacts", "a%00b"] {
        assert_eq!(app.get(&format!("/v1/models/{outside}")).await.status, 404, "{outside}");
    }
}

#[tokio::test]
async fn a_student_answers_from_its_label_set() {
    let app = TestApp::start().await;
    write_student(&app, "tiny", desk_labels());
    let request = json!({"model": "tiny", "inputs": ["the order came late", "it is a refund"]});
    let answer = app.post("/v1/predictions", request).await;
    assert_eq!(answer.status, 200, "{:#}", answer.body);
    let data = answer.body["data"].as_array().unwrap();
    assert_eq!((data.len(), &data[1]["index"], &answer.body["model"]), (2, &json!(1), &json!("tiny")));
    assert!(["refund", "exchange", "reject"].contains(&data[0]["label"].as_str().unwrap()), "{}", data[0]);
    for absent in ["confidence", "label_probs", "rationale", "consistency", "error"] {
        assert_eq!(data[0][absent], Value::Null, "{absent} was not asked for");
    }
    assert!(answer.body["usage"]["input_tokens"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_folder_with_its_tensors_in_shards_is_a_model_and_is_exported_whole() {
    let app = TestApp::start().await;
    write_student(&app, "tiny", desk_labels());
    let ask =
        async || app.post("/v1/predictions", json!({"model": "tiny", "inputs": ["late"]})).await.body["data"].clone();
    let before = ask().await;
    let folder = app.models_dir.join("tiny");
    let whole = std::fs::read(folder.join("model.safetensors")).unwrap();
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&whole[8..8 + header]).unwrap();
    let names = header.as_object().unwrap().keys().filter(|name| *name != "__metadata__");
    let map: serde_json::Map<_, _> =
        names.map(|name| (name.clone(), json!("model-00001-of-00001.safetensors"))).collect();
    std::fs::rename(folder.join("model.safetensors"), folder.join("model-00001-of-00001.safetensors")).unwrap();
    assert_eq!(app.get("/v1/models/tiny").await.body["missing_files"], json!(["model.safetensors"]));
    let index = json!({"metadata": {}, "weight_map": map});
    std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    assert_eq!(app.get("/v1/models/tiny").await.body["missing_files"], json!([]));
    assert_eq!(ask().await, before);
    let export = app.get("/v1/models/tiny/export").await;
    let tar = String::from_utf8_lossy(&export.bytes).into_owned();
    for name in ["tiny/model-00001-of-00001.safetensors", "tiny/model.safetensors.index.json"] {
        assert!(tar.contains(name), "{name}");
    }
}

#[tokio::test]
async fn confidence_probabilities_and_rationale_come_when_asked_for() {
    let app = TestApp::start().await;
    write_student(&app, "tiny", LabelSet::Open);
    let request = json!({
        "model": "tiny", "inputs": ["late"], "include": ["confidence", "label_probs", "rationale"],
        "label_set": ["yes", "no"], "abstain_below": 1.0,
    });
    let answer = app.post("/v1/predictions", request).await.body;
    let first = &answer["data"][0];
    let sum: f64 = first["label_probs"].as_object().unwrap().values().map(|share| share.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-4, "{answer:#}");
    assert!(first["confidence"].as_f64().unwrap() < 1.0 && first["rationale"].is_string(), "{answer:#}");
    assert_eq!((&first["label"], &first["abstained"]), (&json!(null), &json!(true)));
}

#[tokio::test]
async fn requests_that_no_student_can_answer_are_refused() {
    let app = TestApp::start().await;
    write_student(&app, "tiny", LabelSet::Open);
    let ask = async |changes: Value| {
        let mut request = json!({"model": "tiny", "inputs": ["a"]});
        request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        app.post("/v1/predictions", request).await
    };
    let unknown = ask(json!({"model": "tinny"})).await;
    assert_eq!((unknown.status, unknown.code()), (404, "model_not_found"));
    assert!(unknown.detail().contains("did you mean \"tiny\""));
    let consistency = ask(json!({"include": ["consistence"]})).await;
    assert!(consistency.refused(400, "invalid_value", "#/include/0").contains("did you mean \"consistency\""));
    ask(json!({"inputs": []})).await.refused(400, "invalid_value", "#/inputs");
    ask(json!({"inputs": ["a", " "]})).await.refused(400, "invalid_value", "#/inputs/1");
    ask(json!({"label_set": ["a", "a"]})).await.refused(400, "invalid_value", "#/label_set/1");
    ask(json!({"abstain_below": 2})).await.refused(400, "invalid_value", "#/abstain_below");
    ask(json!({"input": "a"})).await.refused(400, "unknown_parameter", "#/input");
    std::fs::remove_file(app.models_dir.join("tiny/tokenizer.json")).unwrap();
    let broken = ask(json!({})).await;
    assert_eq!((broken.status, broken.code()), (400, "model_unusable"));
    assert!(broken.detail().contains("tokenizer.json"));
}

#[tokio::test]
async fn pages_go_from_registered_models_to_folders() {
    let app = TestApp::start().await;
    for name in ["first", "second", "third"] {
        app.model(name).await;
    }
    for name in ["b", "a"] {
        write_student(&app, name, LabelSet::Open);
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    for _ in 0..10 {
        let page = app.get(&format!("/v1/models?limit=2{after}")).await.body;
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= 2, "{page:#}");
        seen.extend(data.iter().map(|model| model["id"].as_str().unwrap().to_owned()));
        if page["has_more"] == false {
            break;
        }
        after = format!("&after={}", seen.last().unwrap());
    }
    assert_eq!(seen, ["third", "second", "first", "a", "b"]);
    app.get("/v1/models?after=nobody").await.refused(400, "invalid_value", "#/after");
}

#[tokio::test]
async fn a_model_shows_its_ancestors_and_children_even_deleted_ones() {
    let app = TestApp::start().await;
    let first = app.model("first").await;
    let second = app.model_from("second", Some(&first)).await;
    app.model_from("third", Some(&second)).await;
    assert_eq!(app.delete("/v1/models/second").await.status, 200);
    let ids = |list: &Value| list.as_array().unwrap().iter().map(|one| one["id"].clone()).collect::<Vec<_>>();
    let third = app.get("/v1/models/third").await.body;
    assert_eq!(ids(&third["ancestors"]), ["second", "first"], "{third:#}");
    assert_eq!((&third["ancestors"][0]["deleted"], &third["ancestors"][1]["deleted"]), (&json!(true), &json!(false)));
    let first = app.get("/v1/models/first").await.body;
    assert_eq!((ids(&first["children"]), ids(&first["ancestors"])), (vec![json!("second")], vec![]));
    assert_eq!(app.get("/v1/models").await.body["data"][0]["children"], Value::Null);
}

#[tokio::test]
async fn a_deleted_model_takes_its_files_with_it() {
    let app = TestApp::start().await;
    let (kept, gone) = (app.model("kept").await, app.model("gone").await);
    let ask = async |name: &str| app.post("/v1/predictions", json!({"model": name, "inputs": ["late"]})).await;
    for name in ["kept", "gone"] {
        assert_eq!(ask(name).await.status, 200);
    }
    let copies = || std::fs::read_dir(app.models_dir.parent().unwrap().join("cache")).unwrap().count();
    assert_eq!(copies(), 2);
    assert_eq!(app.delete("/v1/models/gone").await.status, 200);
    assert_eq!(ask("gone").await.code(), "model_not_found");
    assert_eq!(copies(), 1);
    assert!(!app.artifacts_dir.join(&gone.artifact_prefix).exists());
    assert!(app.artifacts_dir.join(&kept.artifact_prefix).exists());
    assert_eq!(ask("kept").await.status, 200);
}

#[tokio::test]
async fn files_that_a_crash_left_behind_a_deleted_row_are_swept() {
    let app = TestApp::start().await;
    let model = app.model("desk").await;
    let prefix = app.artifacts_dir.join(&model.artifact_prefix);
    // What a process leaves that dies between the row and the files.
    let deleted = app.store.delete_model(Store::default_project(), model.id).await.unwrap();
    assert!(matches!(deleted, Deletion::Deleted(_)));
    app.model("other").await;
    assert_eq!(app.delete("/v1/models/other").await.status, 200);
    assert!(prefix.exists(), "a request removes what it took away, and no more");
    app.state.registry.sweep().await.unwrap();
    assert!(!prefix.exists());
    assert_eq!(app.store.unpurged(None, 10).await.unwrap(), []);
    app.state.registry.sweep().await.unwrap();
}

#[tokio::test]
async fn a_model_in_use_is_not_deleted() {
    let app = TestApp::start().await;
    let model = app.model("desk").await;
    let put = json!({"model": "desk"});
    app.request(Method::PUT, "/v1/aliases/live", |request| request.json(&put)).await;
    let refused = app.delete("/v1/models/desk").await;
    assert_eq!((refused.status, refused.code()), (409, "model_in_use"));
    assert_eq!(refused.headers["x-should-retry"], "false");
    assert!(refused.detail().contains("alias \"live\""), "{}", refused.detail());
    let by_alias = app.delete("/v1/models/live").await;
    assert_eq!((by_alias.status, by_alias.code()), (409, "model_is_alias"));
    app.delete("/v1/aliases/live").await;

    let file = app.file(&[json!({"input": "a", "label": "refund"})]).await;
    for name in ["desk".to_owned(), model.id.to_string(), model.job_id.to_string()] {
        let job = app.post("/v1/evaluation-jobs", json!({"file": file, "models": [name]})).await.id();
        let refused = app.delete("/v1/models/desk").await;
        assert_eq!((refused.status, refused.code()), (409, "model_in_use"), "{name}");
        assert!(refused.detail().contains(&job), "{}", refused.detail());
        app.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await;
    }
    assert_eq!(app.delete("/v1/models/desk").await.status, 200);
}

#[tokio::test]
async fn a_job_whose_model_was_deleted_is_not_retried() {
    let app = TestApp::start().await;
    let model = app.model("desk").await;
    let file = app.file(&[json!({"input": "a", "label": "refund"})]).await;
    let job = app.post("/v1/evaluation-jobs", json!({"file": file, "models": ["desk"]})).await.id();
    app.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await;
    assert_eq!(app.delete("/v1/models/desk").await.status, 200);
    let refused = app.post(&format!("/v1/jobs/{job}/retry"), json!({})).await;
    assert_eq!((refused.status, refused.code()), (409, "model_deleted"));
    assert!(refused.detail().contains(&model.id.to_string()), "{}", refused.detail());
}

#[tokio::test]
async fn a_job_that_waits_for_a_distillation_keeps_the_model_that_it_makes() {
    let app = TestApp::start().await;
    let file = app.store.insert_file(&new_file(), None).await.unwrap();
    let distillation = app.store.create_job(&new_job(distillation_of(TrainingSource::File(file.id)))).await.unwrap();
    let rows = app.file(&[json!({"input": "a", "label": "refund"})]).await;
    let evaluation = app.post("/v1/evaluation-jobs", json!({"file": rows, "models": [distillation.id]})).await;
    assert_eq!(evaluation.status, 201, "{:#}", evaluation.body);
    let model = app.finish(&distillation, "desk", None).await;
    assert_eq!(app.delete("/v1/models/desk").await.code(), "model_in_use");
    let id: JobId = evaluation.id().parse().unwrap();
    app.store.cancel_job(Store::default_project(), id).await.unwrap();
    let deleted = app.store.delete_model(Store::default_project(), model.id).await.unwrap();
    assert!(matches!(deleted, Deletion::Deleted(_)), "{deleted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_and_a_deletion_at_the_same_moment_never_both_succeed() {
    let app = TestApp::start().await;
    let project = Store::default_project();
    let file = app.store.insert_file(&new_file(), None).await.unwrap();
    for number in 0..20 {
        let model = app.model(&format!("desk-{number}")).await;
        let spec = distillation_of(TrainingSource::File(file.id));
        let job = NewJob { models: vec![model.id], ..new_job(spec) };
        let (created, deleted) = tokio::join!(app.store.create_job(&job), app.store.delete_model(project, model.id));
        match deleted.unwrap() {
            Deletion::Deleted(_) => assert!(created.unwrap_err().to_string().contains("model")),
            Deletion::InUse(by) => assert_eq!((by, created.unwrap().id), (job.id, job.id)),
            other => panic!("{other:?}"),
        }
        app.store.cancel_job(project, job.id).await.unwrap();
    }
}

#[tokio::test]
async fn a_folder_is_read_again_as_soon_as_it_is_mended() {
    let app = TestApp::start().await;
    write_student(&app, "tiny", LabelSet::Open);
    let config = app.models_dir.join("tiny/config.json");
    let right = std::fs::read(&config).unwrap();
    std::fs::write(&config, "{}").unwrap();
    let ask = async || app.post("/v1/predictions", json!({"model": "tiny", "inputs": ["a"]})).await;
    for _ in 0..2 {
        assert_eq!(ask().await.code(), "model_unusable");
    }
    std::fs::write(&config, right).unwrap();
    assert_eq!(ask().await.status, 200);
}

#[tokio::test]
async fn a_model_does_not_take_the_name_of_a_folder_that_came_meanwhile() {
    let app = TestApp::start().await;
    let file = app.store.insert_file(&new_file(), None).await.unwrap();
    let job = app.store.create_job(&new_job(distillation_of(TrainingSource::File(file.id)))).await.unwrap();
    write_student(&app, "desk", LabelSet::Open);
    assert_eq!(app.finish(&job, "desk", None).await.name, "desk-2");
}

#[tokio::test]
async fn a_job_scores_the_model_that_its_name_meant_although_a_folder_hides_it_now() {
    let app = TestApp::start().await;
    let model = app.model("desk").await;
    let file = app.file(&[json!({"input": "a", "label": "refund"})]).await;
    let confidence = async |model: &str| {
        let request = json!({"model": model, "inputs": ["a"], "include": ["confidence"]});
        app.post("/v1/predictions", request).await.body["data"][0]["confidence"].clone()
    };
    let meant = confidence("desk").await;
    let job = app.post("/v1/evaluation-jobs", json!({"file": file, "models": ["desk"]})).await;
    write_student(&app, "desk", desk_labels());
    assert_ne!(confidence("desk").await, meant);
    app.work_on(JobKind::Evaluation).await;
    let result = app.get(&format!("/v1/jobs/{}", job.id())).await.body["result"].clone();
    let output = result["output_file"].as_str().unwrap();
    let row = app.get(&format!("/v1/files/{output}/content")).await.body;
    assert_eq!(row["models"]["desk"]["confidence"], meant, "{row:#}");

    // Both can still be told apart: the hidden one is asked for, and shown, by its id.
    let both = app.post("/v1/evaluation-jobs", json!({"file": file, "models": ["desk", model.id]})).await;
    assert_eq!((both.status, &both.body["spec"]["models"]), (201, &json!(["desk", model.id])), "{:#}", both.body);
    let targets = json!({"desk": {"folder": "desk"}, model.id.to_string(): {"model": model.id}});
    assert_eq!(both.body["spec"]["targets"], targets);
}

#[tokio::test]
async fn all_models_come_at_once_where_no_limit_is_sent() {
    let app = TestApp::start().await;
    write_student(&app, "tiny", desk_labels());
    for number in 0..30 {
        let folder = app.models_dir.join(format!("copy-{number:02}"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(app.models_dir.join("tiny/config.json"), folder.join("config.json")).unwrap();
    }
    let list = app.get("/v1/models").await.body;
    assert_eq!((list["data"].as_array().unwrap().len(), &list["has_more"]), (31, &json!(false)));
    let page = app.get("/v1/models?limit=20").await.body;
    assert_eq!((page["data"].as_array().unwrap().len(), &page["has_more"]), (20, &json!(true)));
    app.get("/v1/models?limit=1001").await.refused(400, "invalid_value", "#/limit");
}
