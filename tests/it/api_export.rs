//! Exports: a tar that is a Hugging Face folder with a model card.

use std::{collections::BTreeMap, path::Path};

use futures::StreamExt;
use serde_json::{Value, json};
use stepwise::domain::LabelSet;
use tokio::io::AsyncReadExt;

use crate::support::{
    app::TestApp,
    student::{write_student, write_student_to},
};

pub async fn unpack(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut entries = tokio_tar::Archive::new(tar).entries().unwrap();
    while let Some(entry) = entries.next().await {
        let mut entry = entry.unwrap();
        let (name, mut content) = (entry.path().unwrap().display().to_string(), Vec::new());
        entry.read_to_end(&mut content).await.unwrap();
        files.insert(name, content);
    }
    files
}

#[tokio::test]
async fn an_export_is_the_published_folder_with_a_card() {
    let app = TestApp::start().await;
    let model = app.model("desk").await;
    let answer = app.get("/v1/models/desk/export").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-disposition"], "attachment; filename=\"desk.tar\"");
    assert_eq!(answer.headers["content-length"], answer.bytes.len().to_string().as_str());
    let files = unpack(&answer.bytes).await;
    let names: Vec<_> = files.keys().map(|name| name.strip_prefix("desk/").unwrap()).collect();
    assert_eq!(
        names,
        [
            "README.md",
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "special_tokens_map.json",
            "stepwise.json",
            "tokenizer.json",
            "tokenizer_config.json"
        ]
    );
    for name in names.iter().filter(|name| **name != "README.md") {
        let stored = std::fs::read(app.artifacts_dir.join(&model.artifact_prefix).join(name)).unwrap();
        assert!(files[&format!("desk/{name}")] == stored, "{name} differs from what was published");
    }
    let card = String::from_utf8(files["desk/README.md"].clone()).unwrap();
    for part in [
        "library_name: transformers",
        "| validation | not recorded | 0.9000 |",
        "\"predict: \" + text",
        "`refund`, `exchange`, `reject`",
        "did not cause the label",
    ] {
        assert!(card.contains(part), "no {part:?} in {card}");
    }
    assert_eq!(app.get(&format!("/v1/models/{}/export", model.id)).await.bytes, answer.bytes, "the same bytes again");
}

#[tokio::test]
async fn an_exported_folder_is_the_same_model_below_models_dir() {
    let app = TestApp::start().await;
    app.model("desk").await;
    let tar = app.get("/v1/models/desk/export").await.bytes;
    for (name, content) in unpack(&tar).await {
        let path = app.models_dir.join(name.replace("desk/", "copy/"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let ask = async |model: &str| {
        let include = json!(["confidence", "label_probs", "rationale"]);
        app.post("/v1/predictions", json!({"model": model, "inputs": ["it came late"], "include": include})).await.body
            ["data"]
            .clone()
    };
    assert_eq!(ask("copy").await, ask("desk").await);
}

#[tokio::test]
async fn a_folder_with_an_awkward_name_is_exported_under_a_plain_one() {
    let app = TestApp::start().await;
    write_student(&app, "tiny \"student\"", LabelSet::Open);
    std::fs::write(app.models_dir.join("tiny \"student\"/notes.txt"), "private").unwrap();
    let answer = app.get("/v1/models/tiny%20%22student%22/export").await;
    assert_eq!(answer.headers["content-disposition"], "attachment; filename=\"tiny--student-.tar\"");
    let files = unpack(&answer.bytes).await;
    assert!(files.contains_key("tiny--student-/model.safetensors") && !files.contains_key("tiny--student-/notes.txt"));
}

#[tokio::test]
async fn what_is_no_model_is_not_exported() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/v1/models/none/export").await.code(), "model_not_found");
    write_student(&app, "half", LabelSet::Open);
    std::fs::remove_file(app.models_dir.join("half/tokenizer.json")).unwrap();
    let broken = app.get("/v1/models/half/export").await;
    assert_eq!((broken.status, broken.code()), (400, "model_unusable"));
    app.get("/v1/models/half/export?format=zip").await.refused(400, "unknown_parameter", "#/format");
}

#[tokio::test]
async fn a_folder_that_was_exported_still_knows_its_lineage() {
    let app = TestApp::start().await;
    let folder = app.models_dir.join("copy");
    write_student_to(&folder, LabelSet::Open, 1);
    assert_eq!(app.get("/v1/models/copy").await.body["lineage"], Value::Null);
    let lineage = json!({
        "base": "mini", "job": "job-0198c0de000070008000000000000002", "method": "standard", "label_source": "teacher",
        "alpha": 0.5, "hyperparameters": {"seed": 3}, "training": [], "something_newer": true,
    });
    edit(&folder.join("stepwise.json"), |card| card["lineage"] = lineage);
    let shown = app.get("/v1/models/copy").await.body["lineage"].clone();
    assert_eq!((&shown["base"], &shown["hyperparameters"]["seed"]), (&json!("mini"), &json!(3)), "{shown:#}");
    let tar = app.get("/v1/models/copy/export").await.bytes;
    let card = String::from_utf8(unpack(&tar).await["copy/README.md"].clone()).unwrap();
    assert!(card.contains("- base: `mini`") && card.contains("a teacher's labels"), "{card}");
    assert!(!card.contains("base_model"), "a name of this service means nothing on the Hub: {card}");
}

#[tokio::test]
async fn a_folder_without_a_card_of_its_own_is_not_praised_for_what_it_never_learned() {
    let app = TestApp::start().await;
    write_student(&app, "plain", LabelSet::Open);
    std::fs::remove_file(app.models_dir.join("plain/stepwise.json")).unwrap();
    let card = card_of(&app, "plain").await;
    assert!(
        !card.contains("Distilling") && !card.contains("Accuracy") && card.contains("Nothing came with it"),
        "{card}"
    );
}

#[tokio::test]
async fn a_folder_that_was_exported_still_knows_its_figures() {
    let app = TestApp::start().await;
    let folder = app.models_dir.join("copy");
    write_student_to(&folder, LabelSet::Open, 1);
    let measured = json!([{"split": "test", "accuracy": 0.625, "rows": 8, "by_ground_truth": 8}]);
    edit(&folder.join("stepwise.json"), |card| card["measured"] = measured);
    let card = card_of(&app, "copy").await;
    assert!(card.contains("| test, 8 rows | ground truth | 0.6250 |"), "{card}");
}

async fn card_of(app: &TestApp, model: &str) -> String {
    let tar = app.get(&format!("/v1/models/{model}/export")).await.bytes;
    String::from_utf8(unpack(&tar).await[&format!("{model}/README.md")].clone()).unwrap()
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}
