//! Aliases: names that stay while what they mean moves.

use reqwest::Method;
use serde_json::{Value, json};
use stepwise::{
    domain::{JobKind, LabelSet, ModelTarget, TrainingSource},
    store::{Deletion, PutAlias, SetAlias, Store},
};

use crate::support::{
    app::{Answer, TestApp},
    seed::{distillation_of, long_terms, new_file, new_job, new_model, new_worker},
    student::write_student,
};

async fn put(app: &TestApp, alias: &str, model: &str) -> Answer {
    let body = json!({"model": model});
    app.request(Method::PUT, &format!("/v1/aliases/{alias}"), |request| request.json(&body)).await
}

async fn ask(app: &TestApp, model: &str) -> Value {
    let question = json!({"model": model, "inputs": ["the order came late"], "include": ["label_probs"]});
    let answer = app.post("/v1/predictions", question).await;
    assert_eq!(answer.status, 200, "{:#}", answer.body);
    answer.body
}

#[tokio::test]
async fn an_alias_is_asked_like_a_model_and_moved_without_a_gap() {
    let app = TestApp::start().await;
    let (first, second) = (app.model("desk-1").await, app.model("desk-2").await);
    let made = put(&app, "live", "desk-1").await;
    assert_eq!((made.status, &made.body["model"], &made.body["previous"]), (201, &json!("desk-1"), &Value::Null));
    let answer = ask(&app, "live").await;
    assert_eq!(answer["model"], "desk-1");
    assert_eq!(answer["data"], ask(&app, "desk-1").await["data"]);

    let moved = put(&app, "live", &second.id.to_string()).await;
    assert_eq!(
        (moved.status, &moved.body["model"], &moved.body["previous"]),
        (200, &json!("desk-2"), &json!("desk-1"))
    );
    assert_eq!(moved.body["model_id"], json!(second.id));
    let answer = ask(&app, "live").await;
    assert_eq!((&answer["model"], &answer["data"]), (&json!("desk-2"), &ask(&app, "desk-2").await["data"]));
    assert_ne!(
        answer["data"],
        ask(&app, "desk-1").await["data"],
        "two models must differ for this test to mean anything"
    );

    let again = put(&app, "live", "desk-2").await;
    assert_eq!(
        (again.status, &again.body["previous"], &again.body["moved_at"]),
        (200, &json!("desk-1"), &moved.body["moved_at"])
    );
    let history = app.get("/v1/aliases/live").await.body["history"].clone();
    let shown: Vec<_> =
        history.as_array().unwrap().iter().map(|step| (step["from"].clone(), step["to"].clone())).collect();
    assert_eq!(shown, [(json!("desk-1"), json!("desk-2")), (Value::Null, json!("desk-1"))]);
    assert_eq!(app.get("/v1/models/live").await.body["model_id"], json!(second.id));
    assert_eq!(app.get("/v1/models/desk-2").await.body["aliases"], json!(["live"]));
    assert_eq!(app.get(&format!("/v1/models/{}", first.id)).await.body["aliases"], json!([]));
}

#[tokio::test]
async fn an_alias_of_an_alias_means_its_target_of_that_moment() {
    let app = TestApp::start().await;
    for name in ["desk-1", "desk-2"] {
        app.model(name).await;
    }
    put(&app, "staging", "desk-1").await;
    assert_eq!(put(&app, "live", "staging").await.body["model"], "desk-1");
    put(&app, "staging", "desk-2").await;
    assert_eq!(app.get("/v1/aliases/live").await.body["model"], "desk-1");
    let list = app.get("/v1/aliases?limit=1").await.body;
    assert_eq!(
        (&list["data"][0]["id"], &list["data"][0]["history"], &list["has_more"]),
        (&json!("live"), &Value::Null, &json!(true))
    );
    assert_eq!(app.get("/v1/aliases?after=live").await.body["data"][0]["id"], "staging");
}

#[tokio::test]
async fn a_deleted_alias_frees_its_name_and_keeps_its_history() {
    let app = TestApp::start().await;
    app.model("desk-1").await;
    put(&app, "live", "desk-1").await;
    let deleted = app.delete("/v1/aliases/live").await;
    assert_eq!((deleted.status, &deleted.body["model"]), (200, &json!("desk-1")));
    let gone = app.delete("/v1/aliases/live").await;
    assert_eq!((gone.status, gone.code()), (404, "not_found"));
    assert_eq!(app.get("/v1/models/desk-1").await.status, 200);
    assert_eq!(app.model("live").await.name, "live");
    assert_eq!(app.delete("/v1/models/live").await.status, 200);
    let history = put(&app, "live", "desk-1").await.body["history"].clone();
    assert_eq!((history.as_array().unwrap().len(), &history[1]["to"]), (3, &Value::Null), "{history}");
}

#[tokio::test]
async fn a_name_is_a_models_or_an_alias_never_both() {
    let app = TestApp::start().await;
    app.model("desk-1").await;
    write_student(&app, "folder", LabelSet::Open);
    for taken in ["desk-1", "folder"] {
        let refused = put(&app, taken, "desk-1").await;
        assert_eq!((refused.status, refused.code()), (409, "name_taken"));
        assert_eq!(refused.headers["x-should-retry"], "false");
        assert!(refused.detail().contains("choose another name"), "{}", refused.detail());
    }
    for bad in ["job-1", "a%20b", "model-x", ".hidden", "a:b"] {
        put(&app, bad, "desk-1").await.refused(400, "invalid_value", "#/name");
    }
    let missing = put(&app, "live", "desk-9").await;
    assert_eq!((missing.status, missing.code()), (404, "model_not_found"));
    put(&app, "live", "desk-1").await;
    let file = app.file(&[json!({"input": "a", "label": "b", "teacher_label": "b", "rationale": "c"})]).await;
    let request = json!({"training": {"file": file}, "student": {"from_scratch": {}}, "model_name": "live"});
    let refused = app.post("/v1/distillation-jobs", request).await;
    assert!(refused.refused(400, "name_taken", "#/model_name").contains("is an alias"));
    assert_eq!(app.model("live").await.name, "live-2", "a finishing distillation evades the alias");
}

#[tokio::test]
async fn an_alias_may_point_to_a_folder_and_leads_nowhere_without_it() {
    let app = TestApp::start().await;
    write_student(&app, "mini", LabelSet::Open);
    let made = put(&app, "base", "mini").await;
    assert_eq!((made.status, &made.body["model_id"]), (201, &Value::Null));
    assert_eq!(ask(&app, "base").await["model"], "mini");
    assert_eq!(app.get("/v1/models/mini").await.body["aliases"], json!(["base"]));
    std::fs::remove_dir_all(app.models_dir.join("mini")).unwrap();
    let gone = app.get("/v1/models/base").await;
    assert_eq!((gone.status, gone.code()), (404, "model_not_found"));
}

#[tokio::test]
async fn jobs_keep_what_an_alias_meant_when_they_were_submitted() {
    let app = TestApp::start().await;
    for name in ["desk-1", "desk-2"] {
        app.model(name).await;
    }
    put(&app, "live", "desk-1").await;
    let file = app.file(&[json!({"input": "a", "label": "refund", "teacher_label": "refund", "rationale": "c"})]).await;
    let evaluation = app.post("/v1/evaluation-jobs", json!({"file": file, "models": ["live", "desk-2"]})).await;
    assert_eq!(evaluation.body["spec"]["models"], json!(["desk-1", "desk-2"]), "{:#}", evaluation.body);
    let twice = app.post("/v1/evaluation-jobs", json!({"file": file, "models": ["live", "desk-1"]})).await;
    twice.refused(400, "duplicate_model", "#/models/1");
    let request = json!({"training": {"file": file}, "student": "live"});
    let distillation = app.post("/v1/distillation-jobs", request).await;
    assert_eq!(distillation.body["spec"]["student"], json!({"model": "desk-1"}), "{:#}", distillation.body);
    put(&app, "live", "desk-2").await;
    let refused = app.delete("/v1/models/desk-1").await;
    assert_eq!((refused.status, refused.code()), (409, "model_in_use"));
}

/// Many tries at what happens at the same moment: whoever is first wins, and the other one is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_two_want_at_once_is_given_once() {
    let app = TestApp::start().await;
    let target = app.model("desk").await;
    let project = Store::default_project();
    let file = app.store.insert_file(&new_file(), None).await.unwrap();
    for number in 0..20 {
        let name = format!("wanted-{number}");
        let job = new_job(distillation_of(TrainingSource::File(file.id)));
        let job = app.store.create_job(&job).await.unwrap();
        let (_, lease) = app.store.claim(new_worker(), &[JobKind::Distillation], &long_terms()).await.unwrap().unwrap();
        let alias = SetAlias { name: name.clone(), target: ModelTarget::Model(target.id), model: target.name.clone() };
        let (result, model) = (json!({}), new_model(&name, job.id));
        let (put, finished) = tokio::join!(
            app.store.put_alias(project, &alias),
            app.store.finish_distillation(lease, &result, &model, &[], &[])
        );
        let finished = finished.unwrap();
        match put.unwrap() {
            PutAlias::NameOfModel => assert_eq!(finished.name, name),
            PutAlias::Created(_) => assert_eq!(finished.name, format!("{name}-2")),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_deleted_while_an_alias_moves_to_it_is_not_left_dangling() {
    let app = TestApp::start().await;
    let project = Store::default_project();
    for number in 0..20 {
        let model = app.model(&format!("desk-{number}")).await;
        let alias =
            SetAlias { name: "live".to_owned(), target: ModelTarget::Model(model.id), model: model.name.clone() };
        let (put, deleted) =
            tokio::join!(app.store.put_alias(project, &alias), app.store.delete_model(project, model.id));
        match deleted.unwrap() {
            Deletion::Deleted(_) => assert_eq!(put.unwrap(), PutAlias::TargetGone),
            Deletion::HasAlias(by) => assert_eq!(
                (by.as_str(), app.get("/v1/aliases/live").await.body["model"].clone()),
                ("live", json!(model.name))
            ),
            other => panic!("{other:?}"),
        }
    }
}
