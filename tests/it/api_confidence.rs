//! How sure a student is: calibration of its own label set, abstention, and whether its rationale leads to its label.

use std::fs;

use serde_json::{Value, json};
use stepwise::domain::{LabelSet, shares};

use crate::support::{
    app::TestApp,
    student::{desk_labels, write_seeded_student, write_student},
};

const INPUTS: [&str; 3] = ["the order came late", "it is a refund", "reject because of the rule"];
const TEMPERATURE: f64 = 2.5;

async fn predict(app: &TestApp, changes: Value) -> Vec<Value> {
    let include = ["confidence", "label_probs", "rationale", "consistency"];
    let mut request = json!({"model": "tiny", "inputs": INPUTS, "include": include});
    request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let answer = app.post("/v1/predictions", request).await;
    assert_eq!(answer.status, 200, "{:#}", answer.body);
    answer.body["data"].as_array().unwrap().clone()
}

/// Changes what the student's folder says of it.
fn tell(app: &TestApp, change: Value) {
    let path = app.models_dir.join("tiny/stepwise.json");
    let mut card: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    card.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    fs::write(path, card.to_string()).unwrap();
}

fn calibration() -> Value {
    json!({"calibration": {"rows": 90, "temperature": TEMPERATURE, "error_before": 0.3, "error_after": 0.1}})
}

/// The probabilities that another temperature would have given.
fn at_temperature(answer: &Value, temperature: f64) -> Vec<f64> {
    let scores = answer["label_probs"].as_object().unwrap().values().map(|share| share.as_f64().unwrap().ln());
    shares(&scores.collect::<Vec<_>>(), temperature)
}

fn assert_close(answer: &Value, right: &[f64]) {
    let found = answer["label_probs"].as_object().unwrap().values().map(|share| share.as_f64().unwrap());
    let off = found.zip(right).map(|(found, right)| (found - right).abs()).fold(0.0, f64::max);
    assert!(off < 1e-6, "{answer:#} {right:?}");
    assert_eq!(answer["confidence"], answer["label_probs"][answer["label"].as_str().unwrap()]);
}

#[tokio::test]
async fn a_temperature_calibrates_the_models_own_labels_and_no_others() {
    let app = TestApp::start().await;
    write_student(&app, "tiny", desk_labels());
    let (own, others) =
        (json!({"label_set": ["reject", "refund", "exchange"]}), json!({"label_set": ["refund", "late"]}));
    let before = [predict(&app, json!({})).await, predict(&app, others.clone()).await];
    assert!(before.iter().flatten().all(|answer| answer["calibrated"] == false), "{before:#?}");
    tell(&app, calibration());
    for asked in [json!({}), own] {
        for (before, after) in before[0].iter().zip(predict(&app, asked).await) {
            assert_eq!((&after["calibrated"], &after["label"]), (&json!(true), &before["label"]));
            assert_close(&after, &at_temperature(before, TEMPERATURE));
        }
    }
    for (before, after) in before[1].iter().zip(predict(&app, others).await) {
        assert_eq!(after["calibrated"], false, "nobody has fitted this set");
        assert_close(&after, &at_temperature(before, 1.0));
    }
    let chat =
        json!({"model": "tiny", "messages": [{"role": "user", "content": INPUTS[0]}], "include": ["confidence"]});
    let chat = app.post("/v1/chat/completions", chat).await.body["choices"][0]["stepwise"].clone();
    assert_eq!(chat["calibrated"], true);
    assert!(
        (chat["confidence"].as_f64().unwrap() - predict(&app, json!({})).await[0]["confidence"].as_f64().unwrap())
            .abs()
            < 1e-6
    );
}

#[tokio::test]
async fn choices_of_the_input_are_the_own_labels_of_a_student_that_learned_to_choose_among_them() {
    let app = TestApp::start().await;
    write_student(&app, "tiny", LabelSet::Choices);
    let inputs = json!({"inputs": ["what came?\n(a) order\n(b) refund\n(c) rule"]});
    let before = predict(&app, inputs.clone()).await.remove(0);
    tell(&app, calibration());
    let after = predict(&app, inputs.clone()).await.remove(0);
    assert_eq!((&before["calibrated"], &after["calibrated"]), (&json!(false), &json!(true)));
    assert_close(&after, &at_temperature(&before, TEMPERATURE));
    let own_words = predict(&app, json!({"inputs": ["what came?"]})).await.remove(0);
    assert_eq!((&own_words["calibrated"], &own_words["label_probs"]), (&json!(false), &json!(null)));
}

#[tokio::test]
async fn a_student_abstains_by_its_calibrated_confidence() {
    let app = TestApp::start().await;
    write_student(&app, "tiny", desk_labels());
    let sure = predict(&app, json!({})).await[0]["confidence"].as_f64().unwrap();
    tell(&app, calibration());
    let less_sure = predict(&app, json!({})).await[0]["confidence"].as_f64().unwrap();
    assert!(less_sure < sure - 1e-3, "{less_sure} {sure}");
    let between = json!({"abstain_below": (sure + less_sure) / 2.0});
    let answer = &predict(&app, between.clone()).await[0];
    assert_eq!((&answer["abstained"], &answer["label"]), (&json!(true), &json!(null)));
    assert!(answer["confidence"].is_f64() && answer["label_probs"].is_object());
    let below = &predict(&app, json!({"abstain_below": less_sure - 1e-3})).await[0];
    assert!(below["abstained"] == false && below["label"].is_string(), "{below:#}");

    let chat = async |changes: &Value| {
        let mut request = json!({"model": "tiny", "messages": [{"role": "user", "content": INPUTS[0]}]});
        request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        app.post("/v1/chat/completions", request).await
    };
    let abstained = chat(&between).await.body["choices"][0].clone();
    assert_eq!((&abstained["message"]["content"], &abstained["finish_reason"]), (&json!(""), &json!("stop")));
    assert_eq!((&abstained["stepwise"]["label"], &abstained["stepwise"]["abstained"]), (&json!(null), &json!(true)));
    let said = chat(&json!({"abstain_below": 0.0})).await.body["choices"][0].clone();
    assert_eq!((&said["message"]["content"], &said["stepwise"]["abstained"]), (&below["label"], &json!(false)));
    chat(&json!({"abstain_below": 1.5})).await.refused(400, "invalid_value", "#/abstain_below");
}

#[tokio::test]
async fn an_answer_is_consistent_where_the_rationale_leads_to_the_same_label() {
    let app = TestApp::start().await;
    let mut seen = [false, false];
    // Random students; some contradict themselves.
    for seed in 0..200 {
        write_seeded_student(&app, "tiny", desk_labels(), seed);
        let answers = predict(&app, json!({})).await;
        let with_rationale = |answer: &Value| {
            format!("{}\n{}", INPUTS[answer["index"].as_u64().unwrap() as usize], answer["rationale"].as_str().unwrap())
        };
        let again = predict(&app, json!({"inputs": answers.iter().map(with_rationale).collect::<Vec<_>>()})).await;
        for (answer, again) in answers.iter().zip(again) {
            let same = answer["label"] == again["label"];
            assert_eq!(answer["consistency"], same, "seed {seed}: {answer:#} {again:#}");
            seen[usize::from(same)] = true;
        }
        if seen == [true, true] {
            break;
        }
    }
    assert_eq!(seen, [true, true], "every random student agrees with itself, or none");
    // The rationale is written for it, and shown only where it was asked for.
    let alone = predict(&app, json!({"include": ["consistency"]})).await;
    assert!(
        alone.iter().all(|answer| answer["consistency"].is_boolean() && answer["rationale"].is_null()),
        "{alone:#?}"
    );
    let chat =
        json!({"model": "tiny", "messages": [{"role": "user", "content": INPUTS[0]}], "include": ["consistency"]});
    let chat = app.post("/v1/chat/completions", chat).await.body["choices"][0].clone();
    assert_eq!(chat["stepwise"]["consistency"], alone[0]["consistency"]);
    assert!(chat["message"].get("reasoning_content").is_none(), "{chat:#}");
}

#[tokio::test]
async fn where_nothing_can_be_compared_consistency_is_null() {
    let app = TestApp::start().await;
    write_student(&app, "tiny", LabelSet::Open);
    assert!(predict(&app, json!({})).await.iter().all(|answer| answer["consistency"].is_null()), "no label set");
    write_student(&app, "tiny", desk_labels());
    tell(&app, json!({"method": "standard", "rationale_prefix": null}));
    assert!(predict(&app, json!({})).await.iter().all(|answer| answer["consistency"].is_null()), "no rationale");
    write_student(&app, "tiny", desk_labels());
    // Room for the input, and for no rationale below it.
    tell(&app, json!({"max_input_length": 8}));
    let answers = predict(&app, json!({"inputs": ["the order came late so it is a refund because of the rule"]})).await;
    assert!(answers[0]["rationale"].is_string() && answers[0]["consistency"].is_null(), "{answers:#?}");
    let asked = predict(&app, json!({"include": ["label_probs"]})).await;
    assert!(asked.iter().all(|answer| answer["consistency"].is_null()), "nobody asked");
}
