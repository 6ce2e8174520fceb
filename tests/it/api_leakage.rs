//! Rows that the files of a job have in common: told when it is submitted, never a reason to refuse it.

use serde_json::{Value, json};
use stepwise::{domain::Job, store::Store};

use crate::support::app::{Answer, TestApp};

async fn file(app: &TestApp, inputs: &[&str]) -> String {
    let rows: Vec<_> = inputs
        .iter()
        .map(|input| json!({"input": input, "label": "refund", "teacher_label": "refund", "rationale": "r"}))
        .collect();
    app.file(&rows).await
}

async fn distill(app: &TestApp, rows: Value) -> Answer {
    let mut body = json!({"student": {"from_scratch": {}}, "task": "returns"});
    body.as_object_mut().unwrap().extend(rows.as_object().unwrap().clone());
    let answer = app.post("/v1/distillation-jobs", body).await;
    assert_eq!(answer.status, 201, "{:#}", answer.body);
    answer
}

fn shared(job: &Answer) -> Vec<Value> {
    job.body["warnings"].as_array().unwrap().iter().map(|warning| warning["data"].clone()).collect()
}

#[tokio::test]
async fn inputs_that_training_shares_with_other_rows_are_a_warning() {
    let app = TestApp::start().await;
    let (first, second) = (file(&app, &["a", "b", "b", "c"]).await, file(&app, &["c", "d"]).await);
    let (validation, test) = (file(&app, &["b", "c", "d", "e"]).await, file(&app, &["e", "f"]).await);
    let job = distill(
        &app,
        json!({
            "training": [{"file": first}, {"file": second}], "validation": {"file": validation}, "test": {"file": test},
        }),
    )
    .await;
    let expected = [
        json!({"between": ["training", "validation"], "shared_inputs": 3, "inputs": 4}),
        json!({"between": ["validation", "test"], "shared_inputs": 1, "inputs": 2}),
    ];
    assert_eq!(shared(&job), expected, "{:#}", job.body);
    let warning = &job.body["warnings"][0];
    assert_eq!(warning["code"], "rows_shared");
    let message = warning["message"].as_str().unwrap();
    assert!(message.starts_with("3 of 4 different inputs of the validation rows are also among the training rows"));
    let again = app.get(&format!("/v1/jobs/{}", job.id())).await;
    assert_eq!(again.body["warnings"], job.body["warnings"]);
    let events = app.get(&format!("/v1/jobs/{}/events", job.id())).await;
    let warned: Vec<_> =
        events.body["data"].as_array().unwrap().iter().filter(|event| event["code"] == "rows_shared").collect();
    assert_eq!((warned.len(), &warned[0]["level"], &warned[0]["data"]), (2, &json!("warn"), &expected[0]));
}

#[tokio::test]
async fn rows_that_share_nothing_give_no_warning() {
    let app = TestApp::start().await;
    let (training, test) = (file(&app, &["a", "b"]).await, file(&app, &["A", "b "]).await);
    let job = distill(&app, json!({"training": {"file": training}, "test": {"file": test}})).await;
    assert_eq!(shared(&job), Vec::<Value>::new());
}

#[tokio::test]
async fn splits_of_one_file_share_only_what_belongs_to_no_split() {
    let app = TestApp::start().await;
    let row = |input: &str, split: Value| json!({"input": input, "label": "refund", "teacher_label": "refund", "rationale": "r", "split": split});
    let all = [row("a", json!("train")), row("b", json!("test")), row("c", Value::Null), row("d", json!("train"))];
    let id = app.file(&all).await;
    let job = distill(&app, json!({"training": {"file": id}, "test": {"file": id}})).await;
    assert_eq!(shared(&job), [json!({"between": ["training", "test"], "shared_inputs": 1, "inputs": 2})]);
    let id = app.file(&[all[0].clone(), all[1].clone()]).await;
    let job = distill(&app, json!({"training": {"file": id}, "test": {"file": id}})).await;
    assert_eq!(shared(&job), Vec::<Value>::new());
}

#[tokio::test]
async fn an_evaluation_knows_what_its_models_will_have_learned() {
    let app = TestApp::start().await;
    let (training, held_out) = (file(&app, &["a", "b", "c"]).await, file(&app, &["b", "c", "x"]).await);
    let one = distill(&app, json!({"training": {"file": training}})).await.id();
    let other = distill(&app, json!({"training": {"file": file(&app, &["y"]).await}})).await.id();
    let job = app.post("/v1/evaluation-jobs", json!({"file": held_out, "models": [one, other]})).await;
    let expected = json!({"between": ["training", "evaluation"], "shared_inputs": 2, "inputs": 3, "model": one});
    assert_eq!((job.status, shared(&job)), (201, vec![expected]), "{:#}", job.body);
}

async fn submitted(app: &TestApp, job: &Answer) -> Job {
    app.store.job(Store::default_project(), job.id().parse().unwrap()).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_a_students_bases_learned_counts_too() {
    let app = TestApp::start().await;
    let (a, b) = (file(&app, &["a", "b", "c"]).await, file(&app, &["x", "y"]).await);
    let held_out = file(&app, &["b", "c", "x", "z"]).await;
    let grandparent = distill(&app, json!({"training": {"file": a}})).await;
    let grandparent = app.finish(&submitted(&app, &grandparent).await, "first", None).await;
    let parent = distill(&app, json!({"training": {"file": b}, "student": "first", "test": {"file": held_out}})).await;
    let of_base = json!({"between": ["base_training", "test"], "shared_inputs": 2, "inputs": 4});
    let own = json!({"between": ["training", "test"], "shared_inputs": 1, "inputs": 4});
    assert_eq!(shared(&parent), [own, of_base], "{:#}", parent.body);
    assert!(parent.body["warnings"][1]["message"].as_str().unwrap().contains("that the student comes from"));
    let parent = app.finish(&submitted(&app, &parent).await, "second", Some(&grandparent)).await;

    // The same file again is the student's own affair; what its bases had beside it is told of the whole line, also of a
    // base that is gone.
    assert_eq!(app.delete("/v1/models/first").await.status, 200);
    let child = distill(&app, json!({"training": {"file": b}, "student": "second"})).await;
    let job = app.post("/v1/evaluation-jobs", json!({"file": held_out, "models": [child.id(), parent.name]})).await;
    let expected = |model: &str| {
        ["training", "base_training"].map(|learned| {
            let shared = if learned == "training" { 1 } else { 2 };
            json!({"between": [learned, "evaluation"], "shared_inputs": shared, "inputs": 4, "model": model})
        })
    };
    assert_eq!(shared(&job), [expected(&child.id()), expected("second")].concat(), "{:#}", job.body);
}

#[tokio::test]
async fn rows_that_cannot_be_compared_do_not_hold_up_a_job() {
    let app = TestApp::start().await;
    let (training, test) = (file(&app, &["a"]).await, file(&app, &["a"]).await);
    for path in app.artifact_files().iter().filter(|path| path.extension().is_some_and(|end| end == "fingerprint")) {
        std::fs::remove_file(path).unwrap();
    }
    let job = distill(&app, json!({"training": {"file": training}, "test": {"file": test}})).await;
    assert_eq!(shared(&job), Vec::<Value>::new());
}
