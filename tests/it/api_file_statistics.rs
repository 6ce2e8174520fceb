//! What a file says of its rows: lines of every form, errors by code, lengths and labels, and lengths in tokens.

use serde_json::{Value, json};
use stepwise::{
    domain::StudentCard,
    student::{StudentTokenizer, T5Config, initial_weights, save_checkpoint, unigram},
};

use crate::support::app::TestApp;

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

#[tokio::test]
async fn lines_of_every_form_are_rows_of_one_file() {
    let app = TestApp::start().await;
    let rows = [
        json!({"input": "It came late.", "label": "refund"}),
        json!({"premise": "It rains.", "hypothesis": "It is wet.", "label": "refund"}),
        json!({"prompt": "It broke.", "completion": " exchange\n", "rationale": "Broken things are exchanged."}),
        json!({"messages": [
            {"role": "system", "content": "You decide returns."},
            {"role": "user", "content": "I lost the receipt."},
            {"role": "assistant", "content": "reject", "reasoning_content": "No receipt, no refund."},
        ]}),
    ];
    let answer = app.upload(lines(&rows)).await;
    let validation = &answer.body["validation"];
    assert_eq!((&answer.body["status"], &validation["rows"]), (&json!("processed"), &json!(4)), "{:#}", answer.body);
    assert_eq!((&validation["labeled_rows"], &validation["rationale_rows"]), (&json!(4), &json!(2)));
    let labels = json!({"top": [
        {"label": "refund", "rows": 2}, {"label": "exchange", "rows": 1}, {"label": "reject", "rows": 1},
    ], "other_rows": 0, "distinct": 3, "exact": true});
    assert_eq!(validation["statistics"]["labels"], labels);
    assert_eq!(validation["statistics"]["input"]["words"]["max"], 4, "{validation:#}");
    // A job reads them by the same rules.
    let job = json!({"training": {"file": answer.id()}, "label_source": "ground_truth", "method": "standard",
        "student": {"from_scratch": {}}, "task": "returns"});
    assert_eq!(app.post("/v1/distillation-jobs", job).await.status, 201);
}

#[tokio::test]
async fn every_error_is_counted_by_its_code_and_shown_with_its_text() {
    let app = TestApp::start().await;
    let mut file = String::new();
    for number in 0..150 {
        file.push_str(&format!("{{\"id\":\"same\",\"input\":\"row {number}\"}}\n"));
    }
    file.push_str("{\"input\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"}\n{\"input\":\"d\",\"split\":\"train\"}\n");
    file.push_str("{\"input\":\"d\",\"split\":\"test\"}\n{\"input\":\"e\",\"label\":\"x\",\"label_set\":[\"y\"]}\n");
    let answer = app.upload(file).await;
    let validation = &answer.body["validation"];
    let counts = json!({"duplicate_id": 149, "unsupported_format": 1, "split_leak": 1, "label_not_in_set": 1});
    assert_eq!(validation["error_counts"], counts);
    assert_eq!((&validation["rows"], &validation["valid_rows"]), (&json!(154), &json!(2)));
    let errors = validation["errors"].as_array().unwrap();
    assert_eq!((errors.len(), &validation["errors_truncated"]), (100, &json!(true)));
    let first = json!({"line": 2, "code": "duplicate_id", "field": "id",
        "message": "line 1 has the same id; ids must be unique in a file",
        "snippet": "{\"id\":\"same\",\"input\":\"row 1\"}"});
    assert_eq!(errors[0], first);
    let details = answer.body["status_details"].as_str().unwrap();
    assert!(details.starts_with("152 of 154 lines are invalid; first: line 2"), "{details}");
}

#[tokio::test]
async fn duplicates_and_lengths_are_told() {
    let app = TestApp::start().await;
    let rows = [
        json!({"input": "ab cd", "label": "refund", "split": "train"}),
        json!({"input": "ab cd", "label": "reject", "split": "train"}),
        json!({"input": "abcdefghij", "teacher_label": "reject", "rationale": "because of it"}),
    ];
    let answer = app.upload(lines(&rows)).await;
    let found = &answer.body["validation"]["statistics"];
    assert_eq!((&found["duplicate_rows"], &found["conflicting_inputs"]), (&json!(1), &json!(1)), "{found:#}");
    assert_eq!(found["splits"], json!({"none": 1, "train": 2, "validation": 0, "test": 0}));
    assert_eq!(found["labeled_splits"], json!({"none": 0, "train": 2, "validation": 0, "test": 0}));
    assert_eq!(found["teacher_labeled_splits"], json!({"none": 1, "train": 0, "validation": 0, "test": 0}));
    assert_eq!(found["rationale_splits"], found["teacher_labeled_splits"]);
    let characters = json!({"min": 5, "p50": 5, "p90": 10, "p95": 10, "p99": 10, "max": 10, "mean": 6.67});
    assert_eq!(found["input"]["characters"], characters);
    assert_eq!((&found["label"]["rows"], &found["rationale"]["rows"]), (&json!(3), &json!(1)));
    assert_eq!(found["rationale"]["words"]["p50"], 3);
    assert_eq!(found["teacher_labels"]["top"], json!([{"label": "reject", "rows": 1}]));
    let nothing = app.upload("{\"input\":\"a\"}\n").await;
    assert_eq!(
        nothing.body["validation"]["statistics"]["label"],
        json!({"rows": 0, "characters": null, "words": null})
    );
}

#[tokio::test]
async fn lengths_in_tokens_are_a_models() {
    let app = TestApp::start().await;
    let texts = ["predict: the order came late so it is a refund", "explain: reject exchange because of the rule"];
    let tokenizer = StudentTokenizer::from_tokenizer(unigram::train_tokenizer(texts, 100).unwrap()).unwrap();
    let config: T5Config = serde_json::from_value(json!({
        "vocab_size": tokenizer.vocabulary_size(), "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2,
    }))
    .unwrap();
    let weights = initial_weights(&config, 7);
    save_checkpoint(&app.models_dir.join("tiny"), &config, &weights, &tokenizer, &StudentCard::default()).unwrap();

    let inputs = ["the order", "the order came late", "because of the rule it is a refund"];
    let long = vec!["refund"; 300].join(" ");
    let mut rows: Vec<_> = inputs.iter().map(|input| json!({"input": input, "label": "refund"})).collect();
    rows.push(json!({"input": "late", "teacher_label": "reject", "rationale": long}));
    let id = app.file(&rows).await;
    let length = |text: &str| tokenizer.encode(text, usize::MAX).ids.len();

    let found = app.get(&format!("/v1/files/{id}/statistics?model=tiny")).await;
    assert_eq!(found.status, 200, "{:#}", found.body);
    assert_eq!((&found.body["rows"], &found.body["rows_looked_at"]), (&json!(4), &json!(4)));
    // As the model reads them: behind the longer of its prefixes.
    let prefix = ["predict: ", "explain: "].into_iter().max_by_key(|prefix| length(prefix)).unwrap();
    let read = |input: &str| length(&format!("{prefix}{input}"));
    assert_eq!(found.body["input"]["tokens"]["max"], read(inputs[2]));
    assert_eq!(
        (&found.body["input"]["default_limit"], &found.body["input"]["rows_over_limit"]),
        (&json!(1024), &json!(0))
    );
    assert_eq!(found.body["label"]["rows"], 4);
    assert_eq!(found.body["rationale"]["tokens"]["p50"], length(&long));
    assert_eq!(found.body["rationale"]["rows_over_limit"], 1);

    let first = app.get(&format!("/v1/files/{id}/statistics?model=tiny&rows=1")).await;
    assert_eq!(
        (&first.body["rows_looked_at"], &first.body["input"]["tokens"]["max"]),
        (&json!(1), &json!(read(inputs[0])))
    );
    assert_eq!(first.body["rationale"], json!({"rows": 0, "tokens": null, "default_limit": 256, "rows_over_limit": 0}));
    // One that fits by itself, and not behind the prefix that a training puts before it.
    let full = "t".repeat((1..2000).find(|count| length(&"t".repeat(*count)) == 1024).unwrap());
    let id = app.file(&[json!({"input": full})]).await;
    let found = app.get(&format!("/v1/files/{id}/statistics?model=tiny")).await;
    assert_eq!(found.body["input"]["rows_over_limit"], 1, "{:#}", found.body);
    app.get(&format!("/v1/files/{id}/statistics?model=tiny&rows=0")).await.refused(400, "invalid_value", "#/rows");
    app.get(&format!("/v1/files/{id}/statistics")).await.refused(400, "missing_field", "#/model");
    let unknown = app.get(&format!("/v1/files/{id}/statistics?model=tinny")).await;
    assert_eq!((unknown.status, unknown.code()), (404, "model_not_found"));
    assert!(unknown.detail().contains("tiny"), "{}", unknown.detail());
    std::fs::write(app.models_dir.join("tiny/tokenizer.json"), "{}").unwrap();
    let broken = app.get(&format!("/v1/files/{id}/statistics?model=tiny")).await;
    assert_eq!((broken.status, broken.code()), (400, "model_unusable"));
}
