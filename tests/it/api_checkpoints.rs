//! Checkpoints of a job: by name wherever a model's name is, and kept while they are needed.

use reqwest::Method;
use serde_json::{Value, json};
use stepwise::{
    domain::{JobKind, KeepCheckpoints, ModelTarget, StudentSpec, TrainingSource},
    store::{NewJob, PutAlias, SetAlias, Store, StoreError},
};

use crate::support::{
    app::TestApp,
    seed::{distillation_of, new_file, new_job},
    service::until,
};

const ONE: KeepCheckpoints = KeepCheckpoints { last: 1, best: 1 };

async fn steps(app: &TestApp, job: impl std::fmt::Display) -> Vec<i64> {
    let list = app.get(&format!("/v1/jobs/{job}/checkpoints?limit=1000")).await.body;
    list["data"].as_array().unwrap().iter().map(|checkpoint| checkpoint["step"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn a_checkpoint_is_asked_by_the_jobs_id_and_later_by_the_models_name() {
    let app = TestApp::start().await;
    let job = app.distillation().await;
    let lease = app.claim(&job).await;
    for (step, accuracy) in [(2, None), (4, Some(0.5)), (6, Some(0.5))] {
        app.leave(lease, step, accuracy).await;
    }
    let list = app.get(&format!("/v1/jobs/{}/checkpoints?limit=2", job.id)).await.body;
    let shown: Vec<_> =
        list["data"].as_array().unwrap().iter().map(|one| (one["step"].clone(), one["best"].clone())).collect();
    assert_eq!(shown, [(json!(2), json!(false)), (json!(4), json!(false))]);
    let last = app.get(&format!("/v1/jobs/{}/checkpoints?after=4", job.id)).await.body["data"][0].clone();
    assert_eq!(
        (&list["has_more"], &last["best"], &last["metrics"]),
        (&json!(true), &json!(true), &json!({"label_accuracy": 0.5}))
    );

    let early = format!("{}:ckpt-step-6", job.id);
    assert_eq!(last["model"], json!(early));
    let ask = async |model: &str| {
        app.post("/v1/predictions", json!({"model": model, "inputs": ["late"], "include": ["label_probs"]})).await.body
    };
    let before = ask(&early).await;
    assert_eq!(before["model"], json!(early), "{before:#}");
    // As a worker does it, in another process than the one that is asked.
    app.finish_under(lease, &job, "desk", None).await;
    until("the model's name is seen", async || (ask(&early).await["model"] != json!(early)).then_some(())).await;
    for name in ["desk:ckpt-step-6", last["id"].as_str().unwrap(), &early] {
        let after = ask(name).await;
        assert_eq!((&after["model"], &after["data"]), (&json!("desk:ckpt-step-6"), &before["data"]), "{name}");
    }
    assert_ne!(ask("desk").await["data"], before["data"]);
    let shown = app.get("/v1/models/desk:ckpt-step-6").await.body;
    assert_eq!((&shown["lineage"]["step"], &shown["job"]), (&json!(6), &json!(job.id)), "{shown:#}");
    for missing in ["desk:ckpt-step-3", "desk:ckpt-step-", "other:ckpt-step-6"] {
        assert_eq!(app.get(&format!("/v1/models/{missing}")).await.code(), "model_not_found", "{missing}");
    }
}

#[tokio::test]
async fn a_checkpoint_is_evaluated_exported_and_a_student() {
    let app = TestApp::start().await;
    let job = app.distillation().await;
    let lease = app.claim(&job).await;
    app.leave(lease, 4, Some(0.25)).await;
    app.finish_under(lease, &job, "desk", None).await;
    let name = "desk:ckpt-step-4";
    let rows = app.file(&[json!({"input": "a", "label": "refund", "teacher_label": "refund", "rationale": "c"})]).await;
    let evaluation = app.post("/v1/evaluation-jobs", json!({"file": rows, "models": ["desk", name]})).await;
    assert_eq!(
        (evaluation.status, &evaluation.body["spec"]["models"]),
        (201, &json!(["desk", name])),
        "{:#}",
        evaluation.body
    );
    let refused = app.delete(&format!("/v1/models/{name}")).await;
    assert_eq!((refused.status, refused.code()), (409, "model_in_use"));
    app.post(&format!("/v1/jobs/{}/cancel", evaluation.id()), json!({})).await;
    let student = app.post("/v1/distillation-jobs", json!({"training": {"file": rows}, "student": name})).await;
    assert_eq!(
        (student.status, &student.body["spec"]["student"]),
        (201, &json!({"model": name})),
        "{:#}",
        student.body
    );
    let export = app.get(&format!("/v1/models/{name}/export")).await;
    assert_eq!(export.headers["content-disposition"], "attachment; filename=\"desk-ckpt-step-4.tar\"");
    let card = String::from_utf8_lossy(&export.bytes);
    assert!(
        card.contains("the weights of an unfinished training")
            && card.contains("| validation | not recorded | 0.2500 |")
    );
}

/// How sure a model is of its answer to the one input of these tests.
async fn confidence(app: &TestApp, model: &str) -> Value {
    let request = json!({"model": model, "inputs": ["a"], "include": ["confidence"]});
    app.post("/v1/predictions", request).await.body["data"][0]["confidence"].clone()
}

/// A model `desk` whose training left a checkpoint after step 4; the checkpoint's id.
async fn desk(app: &TestApp) -> String {
    let job = app.distillation().await;
    let lease = app.claim(&job).await;
    let checkpoint = app.leave(lease, 4, None).await;
    app.finish_under(lease, &job, "desk", None).await;
    checkpoint.id.to_string()
}

#[tokio::test]
async fn a_job_scores_the_checkpoint_that_its_name_meant_whatever_becomes_of_the_name() {
    let app = TestApp::start().await;
    let (id, name) = (desk(&app).await, "desk:ckpt-step-4");
    let meant = confidence(&app, name).await;
    let put = json!({"model": name});
    app.request(Method::PUT, "/v1/aliases/early", |request| request.json(&put)).await;
    let file = app.file(&[json!({"input": "a", "label": "refund"})]).await;
    let mut jobs = Vec::new();
    for given in [name, &id, "early"] {
        let job = app.post("/v1/evaluation-jobs", json!({"file": file, "models": [given]})).await;
        let spec = &job.body["spec"];
        assert_eq!((&spec["models"], &spec["targets"][name]), (&json!([name]), &json!({"checkpoint": id})), "{given}");
        jobs.push(job.id());
    }
    assert_eq!(app.delete("/v1/models/desk").await.status, 200);
    // While nobody has the name, and when another training has it, with a checkpoint after the same step.
    for another in [false, true, true] {
        if another && app.get("/v1/models/desk").await.status == 404 {
            desk(&app).await;
            assert_ne!(confidence(&app, name).await, meant);
        }
        app.work_on(JobKind::Evaluation).await;
        let ended = app.get(&format!("/v1/jobs/{}", jobs.remove(0))).await.body;
        assert_eq!((&ended["state"], &ended["result"]["models"][0]["model"]), (&json!("succeeded"), &json!(name)));
        let output = ended["result"]["output_file"].as_str().unwrap();
        let row = app.get(&format!("/v1/files/{output}/content")).await.body;
        assert_eq!(row["models"][name]["confidence"], meant, "{row:#}");
    }
}

#[tokio::test]
async fn a_training_begins_from_the_checkpoint_that_its_name_meant() {
    let app = TestApp::start().await;
    let (id, name) = (desk(&app).await, "desk:ckpt-step-4");
    let rows =
        app.file(&[json!({"input": "late", "label": "refund"}), json!({"input": "rule", "label": "reject"})]).await;
    let request = json!({
        "training": {"file": rows}, "student": id, "task": "returns", "label_source": "ground_truth", "method": "standard",
        "validation": {"fraction": 0.0}, "hyperparameters": {"max_steps": 1, "batch_size": 2}, "model_name": "next",
    });
    let job = app.post("/v1/distillation-jobs", request).await;
    let spec = &job.body["spec"];
    assert_eq!((&spec["student"], &spec["student_target"]), (&json!({"model": name}), &json!({"checkpoint": id})));
    assert_eq!(app.delete("/v1/models/desk").await.status, 200);
    app.work_on(JobKind::Distillation).await;
    let ended = app.get(&format!("/v1/jobs/{}", job.id())).await.body;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    assert_eq!(app.get("/v1/models/next").await.body["base"], name);
}

#[tokio::test]
async fn retention_keeps_the_best_the_last_and_what_is_named() {
    let app = TestApp::start().await;
    let job = app.distillation().await;
    let lease = app.claim(&job).await;
    for (step, accuracy) in [(1, 0.2), (2, 0.9), (3, 0.3), (4, 0.9), (5, 0.4), (6, 0.5)] {
        app.leave(lease, step, Some(accuracy)).await;
    }
    let put = json!({"model": format!("{}:ckpt-step-1", job.id)});
    assert_eq!(app.request(Method::PUT, "/v1/aliases/early", |request| request.json(&put)).await.status, 201);
    assert_eq!(app.store.retire_checkpoints(job.id, ONE).await.unwrap(), 3);
    assert_eq!(steps(&app, job.id).await, [1, 4, 6]);
    assert_eq!(app.store.retire_checkpoints(job.id, ONE).await.unwrap(), 0);
    // What was taken away lies there until it is swept; what is kept stays.
    let folders = || std::fs::read_dir(app.artifacts_dir.join(format!("jobs/{}/e1", job.id))).unwrap().count();
    assert_eq!(folders(), 6);
    app.state.registry.sweep().await.unwrap();
    assert_eq!(folders(), 3);
    assert_eq!(app.delete("/v1/aliases/early").await.status, 200);
    assert_eq!(app.store.retire_checkpoints(job.id, ONE).await.unwrap(), 1);
}

#[tokio::test]
async fn a_deleted_checkpoint_takes_its_files_with_it() {
    let app = TestApp::start().await;
    let job = app.distillation().await;
    let lease = app.claim(&job).await;
    let checkpoint = app.leave(lease, 2, None).await;
    let name = format!("{}:ckpt-step-2", job.id);
    let deleted = app.delete(&format!("/v1/models/{name}")).await;
    assert_eq!((deleted.status, &deleted.body["id"]), (200, &json!(name)));
    assert!(!app.artifacts_dir.join(&checkpoint.artifact_prefix).exists());
    assert_eq!(app.delete(&format!("/v1/models/{name}")).await.code(), "model_not_found");
    assert_eq!(steps(&app, job.id).await, Vec::<i64>::new());
}

#[tokio::test]
async fn an_alias_of_a_checkpoint_holds_it_and_is_answered_by_its_name() {
    let app = TestApp::start().await;
    let job = app.distillation().await;
    let lease = app.claim(&job).await;
    app.leave(lease, 2, None).await;
    // While its training has made no model yet, it has another name.
    let put = json!({"model": format!("{}:ckpt-step-2", job.id)});
    let made = app.request(Method::PUT, "/v1/aliases/live", |request| request.json(&put)).await;
    assert_eq!((&made.body["model"], &made.body["model_id"]), (&put["model"], &Value::Null));
    app.finish_under(lease, &job, "desk", None).await;
    let answer = app.post("/v1/predictions", json!({"model": "live", "inputs": ["late"]})).await.body;
    assert_eq!(answer["model"], "desk:ckpt-step-2");
    assert_eq!(app.get("/v1/models/live").await.body["aliases"], json!(["live"]));
    assert_eq!(app.delete("/v1/models/live").await.code(), "model_is_alias");
    let held = app.delete("/v1/models/desk:ckpt-step-2").await;
    assert!(held.code() == "model_in_use" && held.detail().contains("live"), "{:#}", held.body);
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_leaves_no_checkpoint_and_a_repeated_step_none_beside() {
    let app = TestApp::start().await;
    let job = app.distillation().await;
    let lease = app.claim(&job).await;
    let first = app.leave(lease, 2, Some(0.5)).await;
    assert!(!app.store.insert_checkpoint(lease, &first).await.unwrap(), "the one that is there stays");
    assert_eq!(steps(&app, job.id).await, [2]);
    let old = stepwise::domain::Lease { epoch: lease.epoch - 1, ..lease };
    let lost = app.store.insert_checkpoint(old, &first).await.unwrap_err();
    assert!(matches!(lost, StoreError::LeaseLost(_)), "{lost}");
}

/// Many tries at what happens at the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn retention_never_takes_what_an_alias_or_a_job_names_at_that_moment() {
    let app = TestApp::start().await;
    let project = Store::default_project();
    let job = app.distillation().await;
    let lease = app.claim(&job).await;
    let file = app.store.insert_file(&new_file(), None).await.unwrap();
    for step in 1..=20 {
        let checkpoint = app.leave(lease, 2 * step, None).await;
        app.leave(lease, 2 * step + 1, None).await;
        let name = format!("alias-{step}");
        let alias = SetAlias {
            name: name.clone(),
            target: ModelTarget::Checkpoint(checkpoint.id),
            model: checkpoint.name.clone(),
        };
        let (put, retired) =
            tokio::join!(app.store.put_alias(project, &alias), app.store.retire_checkpoints(job.id, ONE));
        retired.unwrap();
        let is_there = steps(&app, job.id).await.contains(&checkpoint.step);
        match put.unwrap() {
            PutAlias::Created(_) => assert!(is_there),
            PutAlias::TargetGone => assert!(!is_there),
            other => panic!("{other:?}"),
        }
        let checkpoint = app.leave(lease, 1000 + 2 * step, None).await;
        app.leave(lease, 1001 + 2 * step, None).await;
        let mut spec = distillation_of(TrainingSource::File(file.id));
        if let stepwise::domain::JobSpec::Distillation(spec) = &mut spec {
            spec.student = StudentSpec::Model(checkpoint.name.clone());
        }
        let new = NewJob { checkpoints: vec![checkpoint.id], ..new_job(spec) };
        let (created, retired) = tokio::join!(app.store.create_job(&new), app.store.retire_checkpoints(job.id, ONE));
        retired.unwrap();
        let is_there = steps(&app, job.id).await.contains(&checkpoint.step);
        assert_eq!(created.is_ok(), is_there, "{created:?}");
    }
}
