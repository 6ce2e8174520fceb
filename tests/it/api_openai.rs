//! Completions and chat completions: a student behind OpenAI's shapes.

use serde_json::{Value, json};
use stepwise::{
    domain::{LabelSet, ServingPrecision},
    student::{
        Student, StudentTokenizer,
        batch::pad,
        beam_search::{self, BeamSearch},
    },
};
use tch::Device;

use crate::support::{
    app::{Answer, TestApp},
    student::{self, desk_labels, write_seeded_student, write_student},
};

pub const INPUT: &str = "the order came late";

pub async fn with_student(label_set: LabelSet) -> TestApp {
    let app = TestApp::start().await;
    write_student(&app, "tiny", label_set);
    app
}

/// The same with a student that says more than one thing and does not stop by itself: the first random one that does so.
pub async fn with_talker(label_set: LabelSet) -> TestApp {
    let app = TestApp::start().await;
    write_talker(&app, label_set).await;
    app
}

/// Writes that student.
pub async fn write_talker(app: &TestApp, label_set: LabelSet) {
    let prompts = json!([format!("predict: {INPUT}"), format!("explain: {INPUT}")]);
    let said = async || complete(app, json!({"prompt": prompts})).await.body;
    student::write_talker(&app.models_dir.join("tiny"), label_set, said).await;
}

pub async fn complete(app: &TestApp, changes: Value) -> Answer {
    let mut request = json!({"model": "tiny", "prompt": format!("predict: {INPUT}")});
    request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    app.post("/v1/completions", request).await
}

pub async fn chat(app: &TestApp, changes: Value) -> Answer {
    let mut request = json!({"model": "tiny", "messages": [{"role": "user", "content": INPUT}]});
    request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    app.post("/v1/chat/completions", request).await
}

/// What the model predicts for the input.
pub async fn predict(app: &TestApp, changes: Value) -> Value {
    let mut request =
        json!({"model": "tiny", "inputs": [INPUT], "include": ["rationale", "confidence", "label_probs"]});
    request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    app.post("/v1/predictions", request).await.body["data"][0].clone()
}

#[tokio::test]
async fn a_raw_prompt_is_gone_on_from_as_it_is() {
    let app = with_talker(LabelSet::Open).await;
    let label = predict(&app, json!({})).await["label"].clone();
    // Four tokens are the student's longest label.
    let answer = complete(&app, json!({"max_tokens": 4})).await;
    assert_eq!(answer.status, 200, "{:#}", answer.body);
    let choice = &answer.body["choices"][0];
    assert_eq!((&choice["text"], &choice["index"], &choice["logprobs"]), (&label, &json!(0), &json!(null)));
    assert_eq!((&answer.body["object"], &answer.body["model"]), (&json!("text_completion"), &json!("tiny")));
    assert!(answer.id().starts_with("cmpl-") && answer.body["created"].as_i64() > Some(1_700_000_000));
    assert!(answer.body["system_fingerprint"].as_str().unwrap().starts_with("fp_"));

    let tokenizer = StudentTokenizer::from_dir(&app.models_dir.join("tiny")).unwrap();
    let ids = tokenizer.encode(&format!("predict: {INPUT}"), usize::MAX).ids;
    let usage = &answer.body["usage"];
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(ids.len()), &json!(4)));
    assert_eq!(usage["total_tokens"], json!(ids.len() + 4));
    let by_ids = complete(&app, json!({"prompt": ids, "max_tokens": 4})).await.body;
    assert_eq!((&by_ids["choices"][0]["text"], &by_ids["usage"]), (&label, usage));

    let other = complete(&app, json!({"prompt": "explain: refund", "max_tokens": 9})).await.body;
    let many =
        complete(&app, json!({"prompt": ["explain: refund", format!("predict: {INPUT}")], "max_tokens": 9})).await.body;
    assert_eq!((&many["choices"][0]["text"], &many["choices"][1]["index"]), (&other["choices"][0]["text"], &json!(1)));
    let lists = complete(&app, json!({"prompt": [ids, ids], "max_tokens": 4})).await.body;
    assert_eq!((&lists["choices"][1]["text"], &lists["usage"]["completion_tokens"]), (&label, &json!(8)));
}

#[tokio::test]
async fn beams_find_what_a_search_of_the_student_finds_and_one_beam_is_greedy() {
    let app = TestApp::start().await;
    let prompts = [format!("predict: {INPUT}"), "explain: refund".to_owned()];
    let ask = async |changes: Value| {
        let mut request = json!({"prompt": prompts, "max_tokens": 9});
        request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        complete(&app, request).await.body["choices"].clone()
    };
    // The first random student whose best answers are not its greedy ones.
    let mut found = Value::Null;
    for seed in 0..500 {
        write_seeded_student(&app, "tiny", LabelSet::Open, seed);
        found = ask(json!({"beams": 5})).await;
        let greedy = ask(json!({})).await;
        assert_eq!(ask(json!({"beams": 1})).await, greedy);
        if (0..2).all(|place| found[place]["text"] != greedy[place]["text"]) {
            break;
        }
    }

    let folder = app.models_dir.join("tiny");
    let student = Student::load(&folder, Device::Cpu, ServingPrecision::Auto).unwrap();
    let inputs: Vec<_> = prompts.iter().map(|prompt| student.tokenizer.encode(prompt, usize::MAX).ids).collect();
    let (ids, mask) = pad(&inputs, student.tokenizer.pad_id(), Device::Cpu);
    let settings = BeamSearch { beams: 5, max_new_tokens: 9, ..BeamSearch::default() };
    let right = beam_search::search(&student.model, &ids, &mask, &settings);
    for (choice, right) in found.as_array().unwrap().iter().zip(right) {
        assert_eq!(choice["text"], student.tokenizer.decode(&right[0].ids));
    }

    let text = found[0]["text"].as_str().unwrap();
    let (at, letter) = text.char_indices().nth(text.chars().count() / 2).unwrap();
    let stopped = ask(json!({"beams": 5, "stop": letter})).await;
    assert!(at > 0 && !stopped[0]["text"].as_str().unwrap().contains(letter), "{stopped:#}");
    for beams in [0, 17] {
        complete(&app, json!({"beams": beams})).await.refused(400, "invalid_value", "#/beams");
    }
}

#[tokio::test]
async fn a_completion_ends_at_its_limit_or_before_a_text_to_stop_at() {
    let app = with_talker(LabelSet::Open).await;
    let long = complete(&app, json!({})).await.body;
    let text = long["choices"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!(
        (&long["choices"][0]["finish_reason"], &long["usage"]["completion_tokens"]),
        (&json!("length"), &json!(16))
    );
    let short = complete(&app, json!({"max_tokens": 5})).await.body;
    assert!(text.starts_with(short["choices"][0]["text"].as_str().unwrap()), "{text:?} {short:#}");

    let (at, letter) = text.char_indices().nth(text.chars().count() / 2).unwrap();
    let before = &text[..text.find(letter).unwrap()];
    assert!(text.find(letter).unwrap() <= at);
    for stop in [json!(letter), json!(["never said", letter])] {
        let stopped = complete(&app, json!({"stop": stop})).await.body;
        let choice = &stopped["choices"][0];
        assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!(before), &json!("stop")), "{text:?}");
        assert!(stopped["usage"]["completion_tokens"].as_u64() < Some(16), "it goes on after the stop: {stopped:#}");
    }
    let echoed = complete(&app, json!({"echo": true, "max_tokens": 5})).await.body;
    let expected = format!("predict: {INPUT}{}", short["choices"][0]["text"].as_str().unwrap());
    assert_eq!(echoed["choices"][0]["text"], expected);
}

#[tokio::test]
async fn a_label_that_is_too_long_to_be_weighed_is_refused_by_its_place() {
    let app = with_student(desk_labels()).await;
    let ask = async |labels: Value| {
        app.post("/v1/predictions", json!({"model": "tiny", "inputs": [INPUT, "late"], "label_set": labels})).await
    };
    // More characters than a label has, and fewer with more tokens than are weighed.
    for long in ["t".repeat(501), "t".repeat(400)] {
        let labels = json!(["refund", long]);
        let detail = ask(labels.clone()).await;
        assert!(detail.refused(400, "label_too_long", "#/label_set/1").len() < 300, "{}", detail.detail());
        chat(&app, json!({"label_set": labels})).await.refused(400, "label_too_long", "#/label_set/1");
    }
    assert_eq!(ask(json!(["refund", "t".repeat(200)])).await.status, 200);
    let twice = "l".repeat(500);
    assert!(ask(json!([twice, twice])).await.refused(400, "invalid_value", "#/label_set/1").len() < 150);
    let many: Vec<_> = (0..50_000).map(|number| number.to_string()).collect();
    ask(json!(many)).await.refused(400, "invalid_value", "#/label_set");
}

#[tokio::test]
async fn an_endless_choice_in_an_input_costs_its_own_answer_alone() {
    let app = with_student(LabelSet::Choices).await;
    let endless = format!("which?\n(a) refund\n(b) {}", "t".repeat(600));
    let inputs = json!(["which?\n(a) refund\n(b) late", endless]);
    let answer = app.post("/v1/predictions", json!({"model": "tiny", "inputs": inputs})).await;
    assert_eq!(answer.status, 200, "{:#}", answer.body);
    let data = &answer.body["data"];
    assert!(data[0]["label"].is_string() && data[0]["error"].is_null(), "{data:#}");
    assert_eq!((&data[1]["label"], &data[1]["error"]["code"]), (&json!(null), &json!("label_too_long")));
    let asked = chat(&app, json!({"messages": [{"role": "user", "content": endless}]})).await;
    asked.refused(400, "label_too_long", "#/messages/0/content");
}

#[tokio::test]
async fn a_chat_answers_with_the_label_that_is_predicted() {
    let app = with_talker(desk_labels()).await;
    let predicted = predict(&app, json!({})).await;
    let answer = chat(&app, json!({})).await;
    assert_eq!(answer.status, 200, "{:#}", answer.body);
    let choice = &answer.body["choices"][0];
    assert_eq!(choice["message"], json!({"role": "assistant", "content": predicted["label"], "refusal": null}));
    assert_eq!((&choice["finish_reason"], &choice["stepwise"]["confidence"]), (&json!("stop"), &json!(null)));
    assert!(answer.id().starts_with("chatcmpl-") && answer.body["object"] == "chat.completion");

    let tokenizer = StudentTokenizer::from_dir(&app.models_dir.join("tiny")).unwrap();
    let length = |text: &str| tokenizer.encode(text, usize::MAX).ids.len();
    let label = length(predicted["label"].as_str().unwrap());
    let usage = json!({
        "prompt_tokens": length(&format!("predict: {INPUT}")), "completion_tokens": label,
        "total_tokens": length(&format!("predict: {INPUT}")) + label,
    });
    assert_eq!(answer.body["usage"], usage);

    let all = chat(&app, json!({"include": ["rationale", "confidence", "label_probs"]})).await.body;
    let choice = &all["choices"][0];
    assert_eq!(choice["message"]["reasoning_content"], predicted["rationale"], "{all:#}");
    let stepwise = json!({
        "label": predicted["label"], "confidence": predicted["confidence"], "label_probs": predicted["label_probs"],
        "calibrated": false, "consistency": null, "abstained": false, "rationale_kind": "multitask",
    });
    assert_eq!(choice["stepwise"], stepwise);
    assert!(all["usage"]["completion_tokens"].as_u64() > usage["completion_tokens"].as_u64());
    let short = chat(&app, json!({"include": ["rationale"], "max_completion_tokens": 1})).await.body;
    assert_eq!(short["choices"][0]["finish_reason"], "length", "a rationale of one token is cut: {short:#}");
    assert_eq!(short["usage"]["completion_tokens"], json!(label + 1), "a label of a set is not");

    let chosen = chat(&app, json!({"label_set": ["late", "early"]})).await.body;
    let expected = predict(&app, json!({"label_set": ["late", "early"]})).await["label"].clone();
    assert_eq!(chosen["choices"][0]["message"]["content"], expected);
}

#[tokio::test]
async fn the_input_is_the_last_user_message() {
    let app = with_student(desk_labels()).await;
    let alone = chat(&app, json!({})).await.body;
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "something else", "name": "anna"},
        {"role": "assistant", "content": null, "tool_calls": [], "refusal": null},
        {"role": "user", "content": [{"type": "text", "text": "the order "}, {"type": "text", "text": "came late"}]},
        {"role": "assistant", "content": "refund"},
    ]);
    let among = chat(&app, json!({"messages": messages})).await.body;
    assert_eq!((&among["choices"], &among["usage"]), (&alone["choices"], &alone["usage"]));

    chat(&app, json!({"messages": []})).await.refused(400, "invalid_value", "#/messages");
    let none = chat(&app, json!({"messages": [{"role": "system", "content": "x"}]})).await;
    assert!(none.refused(400, "invalid_value", "#/messages").contains("role user"));
    let empty = chat(&app, json!({"messages": [{"role": "user", "content": " "}]})).await;
    empty.refused(400, "invalid_value", "#/messages/0/content");
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]);
    chat(&app, json!({"messages": image})).await.refused(400, "unsupported_parameter", "#/messages/0/content/0/type");
    chat(&app, json!({"messages": [{"role": "robot", "content": "x"}]})).await.refused(
        400,
        "invalid_value",
        "#/messages/0/role",
    );
}

#[tokio::test]
async fn what_a_student_cannot_do_is_refused_by_name_and_neutral_values_are_taken() {
    let app = with_student(desk_labels()).await;
    let shared = [
        ("stream_options", json!({"include_usage": true}), json!(null)),
        ("n", json!(2), json!(1)),
        ("presence_penalty", json!(0.5), json!(0)),
        ("frequency_penalty", json!(-0.5), json!(0.0)),
        ("logit_bias", json!({"5": -100}), json!({})),
    ];
    let of_completions = [("best_of", json!(3), json!(1)), ("suffix", json!("x"), json!(null))];
    let of_chat = [
        ("stop", json!("x"), json!(null)),
        ("top_logprobs", json!(5), json!(0)),
        ("response_format", json!({"type": "json_object"}), json!({"type": "text"})),
        ("modalities", json!(["audio"]), json!(["text"])),
        ("tools", json!([{"type": "function"}]), json!([])),
        ("tool_choice", json!("required"), json!("none")),
        ("functions", json!([{"name": "f"}]), json!([])),
        ("function_call", json!("auto"), json!("none")),
        ("audio", json!({"voice": "x"}), json!(null)),
        ("prediction", json!({"type": "content"}), json!(null)),
        ("reasoning_effort", json!("low"), json!(null)),
        ("web_search_options", json!({}), json!(null)),
        ("store", json!(true), json!(false)),
    ];
    for (name, asks, neutral) in shared.iter().chain(&of_completions) {
        let refused = complete(&app, json!({*name: asks})).await;
        assert!(refused.refused(400, "unsupported_parameter", &format!("#/{name}")).contains(name));
        assert_eq!(refused.body["error"]["param"], *name);
        assert_eq!(complete(&app, json!({*name: neutral})).await.status, 200, "{name}");
    }
    for (name, asks, neutral) in shared.iter().chain(&of_chat) {
        chat(&app, json!({*name: asks})).await.refused(400, "unsupported_parameter", &format!("#/{name}"));
        assert_eq!(chat(&app, json!({*name: neutral})).await.status, 200, "{name}");
    }
    for drawn in [json!({"temperature": 0.7}), json!({"logprobs": 0})] {
        let mut search = json!({"beams": 3});
        search.as_object_mut().unwrap().extend(drawn.as_object().unwrap().clone());
        let pointer = format!("#/{}", drawn.as_object().unwrap().keys().next().unwrap());
        complete(&app, search).await.refused(400, "unsupported_parameter", &pointer);
    }
    let accepted = json!({"seed": -7, "user": "anna", "top_p": 0.9, "top_k": -1, "stream": false});
    assert_eq!(complete(&app, accepted.clone()).await.status, 200);
    assert_eq!(chat(&app, accepted).await.status, 200);
    let harmless = json!({"metadata": {"team": "x"}, "parallel_tool_calls": false, "max_tokens": 5});
    assert_eq!(chat(&app, harmless).await.status, 200);
}

#[tokio::test]
async fn an_answer_does_not_end_before_its_least_length() {
    let app = TestApp::start().await;
    // The first random student that stops of itself, both ways.
    let mut ended = Vec::new();
    for seed in 0..500 {
        write_seeded_student(&app, "tiny", LabelSet::Open, seed);
        ended.clear();
        for beams in [1, 3] {
            ended.push(complete(&app, json!({"max_tokens": 9, "beams": beams})).await.body["choices"][0].clone());
        }
        if ended.iter().all(|choice| choice["finish_reason"] == "stop") {
            break;
        }
    }
    assert!(ended.iter().all(|choice| choice["finish_reason"] == "stop"), "no random student stops");
    let prompt = format!("predict: {INPUT}");
    for beams in [1, 3] {
        let long = json!({"max_tokens": 9, "min_tokens": 9, "beams": beams, "prompt": [prompt, "explain: refund"]});
        let long = complete(&app, long).await.body;
        assert_eq!(long["usage"]["completion_tokens"], 18, "{long:#}");
        assert!(long["choices"].as_array().unwrap().iter().all(|choice| choice["finish_reason"] == "length"));
        let free = complete(&app, json!({"max_tokens": 9, "min_tokens": 1, "beams": beams})).await.body;
        assert!(free["usage"]["completion_tokens"].as_u64() <= Some(9));
    }
}

#[tokio::test]
async fn bad_values_and_unknown_names_are_refused_with_what_would_be_right() {
    let app = with_student(desk_labels()).await;
    let typo = complete(&app, json!({"max_token": 5})).await;
    assert!(typo.refused(400, "unknown_parameter", "#/max_token").contains("did you mean \"max_tokens\""));
    chat(&app, json!({"lable_set": ["a", "b"]})).await.refused(400, "unknown_parameter", "#/lable_set");
    complete(&app, json!({"max_tokens": 0})).await.refused(400, "invalid_value", "#/max_tokens");
    complete(&app, json!({"max_tokens": 5, "min_tokens": 6})).await.refused(400, "invalid_value", "#/min_tokens");
    complete(&app, json!({"max_tokens": 1_000_000})).await.refused(400, "invalid_value", "#/max_tokens");
    complete(&app, json!({"temperature": 3})).await.refused(400, "invalid_value", "#/temperature");
    complete(&app, json!({"top_p": 0})).await.refused(400, "invalid_value", "#/top_p");
    complete(&app, json!({"top_k": -2})).await.refused(400, "invalid_value", "#/top_k");
    complete(&app, json!({"logprobs": 6})).await.refused(400, "invalid_value", "#/logprobs");
    complete(&app, json!({"n": 17, "temperature": 1})).await.refused(400, "invalid_value", "#/n");
    let prompts = vec!["late"; 30];
    complete(&app, json!({"n": 9, "temperature": 1, "prompt": prompts})).await.refused(400, "invalid_value", "#/n");
    chat(&app, json!({"logprobs": true, "top_logprobs": 21})).await.refused(400, "invalid_value", "#/top_logprobs");
    chat(&app, json!({"n": 0})).await.refused(400, "invalid_value", "#/n");
    complete(&app, json!({"stop": ["a", "b", "c", "d", "e"]})).await.refused(400, "invalid_value", "#/stop");
    complete(&app, json!({"stop": ""})).await.refused(400, "invalid_value", "#/stop");
    complete(&app, json!({"prompt": {"text": "x"}})).await.refused(400, "invalid_value", "#/prompt");
    complete(&app, json!({"prompt": []})).await.refused(400, "invalid_value", "#/prompt");
    complete(&app, json!({"prompt": [[5], []]})).await.refused(400, "invalid_value", "#/prompt/1");
    let unknown = complete(&app, json!({"prompt": [[5], [5, 99_999]]})).await;
    assert!(unknown.refused(400, "invalid_value", "#/prompt/1").contains("99999"));
    chat(&app, json!({"max_tokens": 5, "max_completion_tokens": 6})).await.refused(
        400,
        "invalid_value",
        "#/max_tokens",
    );
    chat(&app, json!({"include": ["certainty"]})).await.refused(400, "invalid_value", "#/include/0");
    let missing = chat(&app, json!({"model": "tinny"})).await;
    assert_eq!((missing.status, missing.code()), (404, "model_not_found"));
    assert!(missing.detail().contains("did you mean \"tiny\""));
}

#[tokio::test]
async fn an_input_that_the_model_cannot_read_whole_is_refused() {
    let app = with_student(desk_labels()).await;
    let long = "the order came late ".repeat(300);
    let refused = complete(&app, json!({"prompt": ["short", long]})).await;
    let detail = refused.refused(400, "context_length_exceeded", "#/prompt/1");
    assert!(detail.contains("the model reads 1024"), "{detail}");
    let refused = chat(&app, json!({"messages": [{"role": "user", "content": long}]})).await;
    refused.refused(400, "context_length_exceeded", "#/messages/0/content");
    assert_eq!(predict(&app, json!({"inputs": [long]})).await["error"], json!(null), "predictions cut it");
}
