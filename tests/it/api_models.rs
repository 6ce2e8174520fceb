//! Models and predictions, with a tiny random student in a folder below `models_dir`.

use serde_json::{Value, json};
use stepwise::domain::LabelSet;

use crate::support::{
    app::TestApp,
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
    let consistency = ask(json!({"include": ["consistency"]})).await;
    assert!(consistency.refused(400, "invalid_value", "#/include/0").contains("rationale, confidence, label_probs"));
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
