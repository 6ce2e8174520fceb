//! Completions and chats that come in chunks, as bytes on a real socket.

use serde_json::{Value, json};
use stepwise::domain::LabelSet;

use crate::api_openai::{INPUT, chat, complete, predict, with_student, with_talker};
use crate::support::{app::TestApp, student::desk_labels};

/// A streamed completion's chunks, each of which has the documented form.
async fn stream_completion(app: &TestApp, changes: Value) -> Vec<Value> {
    let mut request = json!({"model": "tiny", "prompt": format!("predict: {INPUT}"), "stream": true});
    request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let chunks = app.stream("/v1/completions", &request).await.all().await;
    chunks.iter().for_each(|chunk| app.contract.check_form("CompletionChunk", chunk));
    chunks
}

async fn stream_chat(app: &TestApp, changes: Value) -> Vec<Value> {
    let mut request = json!({"model": "tiny", "messages": [{"role": "user", "content": INPUT}], "stream": true});
    request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let chunks = app.stream("/v1/chat/completions", &request).await.all().await;
    chunks.iter().for_each(|chunk| app.contract.check_form("ChatCompletionChunk", chunk));
    chunks
}

/// The choices of one index.
fn of_index(chunks: &[Value], index: usize) -> Vec<&Value> {
    chunks.iter().flat_map(|chunk| chunk["choices"].as_array().unwrap()).filter(|one| one["index"] == index).collect()
}

/// A text that comes in these choices.
fn joined(choices: &[&Value], pointer: &str) -> String {
    choices.iter().filter_map(|choice| choice.pointer(pointer)?.as_str()).collect()
}

/// A request for so many tokens of each prompt, no more and no less.
fn long(prompts: &Value, tokens: usize) -> Value {
    json!({"model": "tiny", "prompt": prompts, "max_tokens": tokens, "min_tokens": tokens, "stream": true})
}

#[tokio::test]
async fn the_pieces_of_a_stream_are_the_answer_that_comes_whole() {
    let app = with_talker(LabelSet::Open).await;
    for changes in [
        json!({"max_tokens": 40}),
        json!({"max_tokens": 30, "echo": true, "prompt": ["explain: refund", "größe"]}),
        json!({"max_tokens": 9, "beams": 3}),
        json!({"max_tokens": 30, "temperature": 1.2, "seed": 4, "n": 3, "logprobs": 2}),
    ] {
        let whole = complete(&app, changes.clone()).await.body;
        let chunks = stream_completion(&app, changes).await;
        for (index, right) in whole["choices"].as_array().unwrap().iter().enumerate() {
            let choices = of_index(&chunks, index);
            assert_eq!(joined(&choices, "/text"), right["text"].as_str().unwrap());
            let (last, before) = choices.split_last().unwrap();
            assert_eq!(last["finish_reason"], right["finish_reason"]);
            assert!(before.iter().all(|choice| choice["finish_reason"].is_null()), "{before:#?}");
            for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
                let lists = choices.iter().filter_map(|choice| choice["logprobs"][list].as_array());
                let all: Vec<&Value> = lists.flatten().collect();
                assert_eq!(all, right["logprobs"][list].as_array().into_iter().flatten().collect::<Vec<_>>());
            }
        }
        let id = &chunks[0]["id"];
        assert!(chunks.iter().all(|chunk| chunk["id"] == *id && chunk.get("usage").is_none()), "{chunks:#?}");
    }
}

#[tokio::test]
async fn tokens_come_as_they_are_written_and_the_place_is_free_at_the_end() {
    let app = with_talker(LabelSet::Open).await;
    let mut stream = app.stream("/v1/completions", &long(&json!("explain: refund"), 1000)).await;
    let first = stream.chunk().await;
    assert!(!first["choices"][0]["text"].as_str().unwrap().is_empty(), "{first:#}");
    assert_eq!(app.state.engine.waiting(), 1, "the first piece came when all was written");
    let mut pieces = 1;
    while stream.next().await.is_some_and(|data| data != "[DONE]") {
        pieces += 1;
    }
    assert!(pieces > 100, "{pieces} pieces of 1000 tokens");
    assert_eq!(app.state.engine.waiting(), 0, "the place is taken when all is said");
}

#[tokio::test]
async fn the_last_chunk_has_the_usage_where_it_is_wanted() {
    let app = with_talker(desk_labels()).await;
    let options = json!({"stream_options": {"include_usage": true}});
    let of = |whole: Value, chunks: Vec<Value>| {
        let (last, before) = chunks.split_last().unwrap();
        assert_eq!((&last["choices"], &last["usage"]), (&json!([]), &whole["usage"]));
        assert!(before.iter().all(|chunk| chunk.get("usage") == Some(&Value::Null)), "{before:#?}");
    };
    let prompts = json!({"prompt": ["late", "explain: refund"]});
    let mut streamed = options.clone();
    streamed.as_object_mut().unwrap().extend(prompts.as_object().unwrap().clone());
    of(complete(&app, prompts).await.body, stream_completion(&app, streamed).await);
    of(chat(&app, json!({})).await.body, stream_chat(&app, options).await);
}

#[tokio::test]
async fn several_prompts_are_answered_side_by_side() {
    let app = with_talker(LabelSet::Open).await;
    let prompts = json!([format!("predict: {INPUT}"), format!("explain: {INPUT}")]);
    let chunks = app.stream("/v1/completions", &long(&prompts, 60)).await.all().await;
    let order: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]["index"]).collect();
    let first = |index: usize| order.iter().position(|one| **one == index).unwrap();
    let last = |index: usize| order.iter().rposition(|one| **one == index).unwrap();
    assert!(first(0) < last(1) && first(1) < last(0), "one after the other: {order:?}");
}

#[tokio::test]
async fn a_stop_takes_nothing_back_that_was_shown() {
    let app = with_talker(LabelSet::Open).await;
    let text = complete(&app, json!({"max_tokens": 40})).await.body["choices"][0]["text"].as_str().unwrap().to_owned();
    let chars: Vec<char> = text.chars().collect();
    let stop: String = chars[chars.len() / 2..chars.len() / 2 + 3].iter().collect();
    let changes = json!({"max_tokens": 40, "stop": [stop, "never said"]});
    let right = complete(&app, changes.clone()).await.body["choices"][0].clone();
    let chunks = stream_completion(&app, changes).await;
    let choices = of_index(&chunks, 0);
    assert_eq!(joined(&choices, "/text"), text[..text.find(&stop).unwrap()]);
    assert_eq!((&choices.last().unwrap()["finish_reason"], &right["finish_reason"]), (&json!("stop"), &json!("stop")));
}

#[tokio::test]
async fn a_chat_streams_its_rationale_and_gives_a_label_of_a_set_in_one_piece() {
    let app = with_talker(desk_labels()).await;
    let wanted = json!({"include": ["rationale", "confidence", "label_probs"]});
    let whole = chat(&app, wanted.clone()).await.body["choices"][0].clone();
    let chunks = stream_chat(&app, wanted).await;
    let choices = of_index(&chunks, 0);
    assert_eq!(choices[0]["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!(joined(&choices, "/delta/reasoning_content"), whole["message"]["reasoning_content"].as_str().unwrap());
    let contents: Vec<&Value> = choices.iter().filter_map(|choice| choice["delta"].get("content")).collect();
    assert_eq!(contents, [&json!(""), &whole["message"]["content"]]);
    let reasons = choices.iter().filter(|choice| choice["delta"].get("reasoning_content").is_some()).count();
    assert!(reasons > 1, "the rationale came whole");
    let last = choices.last().unwrap();
    assert_eq!((&last["delta"], &last["finish_reason"]), (&json!({}), &whole["finish_reason"]));
    assert_eq!(last["stepwise"], whole["stepwise"]);
    assert!(choices[..choices.len() - 1].iter().all(|choice| choice.get("stepwise").is_none()));
    let plain = stream_chat(&app, json!({})).await;
    assert!(of_index(&plain, 0).iter().all(|choice| choice["delta"].get("reasoning_content").is_none()));
}

#[tokio::test]
async fn a_chat_without_a_set_streams_the_students_own_words() {
    let app = with_talker(LabelSet::Open).await;
    let predicted = predict(&app, json!({})).await;
    let wanted = json!({"include": ["rationale"], "logprobs": true, "top_logprobs": 1});
    let chunks = stream_chat(&app, wanted.clone()).await;
    let choices = of_index(&chunks, 0);
    assert_eq!(joined(&choices, "/delta/content"), predicted["label"].as_str().unwrap());
    assert_eq!(joined(&choices, "/delta/reasoning_content"), predicted["rationale"].as_str().unwrap());
    let whole = chat(&app, wanted).await.body["choices"][0]["logprobs"].clone();
    let tokens: Vec<&Value> =
        choices.iter().filter_map(|choice| choice["logprobs"]["content"].as_array()).flatten().collect();
    assert_eq!(json!(tokens), whole["content"]);
    let sum: f64 = tokens.iter().map(|token| token["logprob"].as_f64().unwrap()).sum();
    assert!((sum.exp() - predicted["confidence"].as_f64().unwrap()).abs() < 1e-4, "{sum} {predicted:#}");
}

#[tokio::test]
async fn a_student_that_abstains_says_nothing_in_a_stream_either() {
    let app = with_talker(LabelSet::Open).await;
    let sure = json!({"abstain_below": 0, "include": ["consistency"], "logprobs": true});
    let unsure = json!({"abstain_below": 1, "logprobs": true});
    for (changes, abstains) in [(sure, false), (unsure, true)] {
        let whole = chat(&app, changes.clone()).await.body["choices"][0].clone();
        let chunks = stream_chat(&app, changes).await;
        let choices = of_index(&chunks, 0);
        assert_eq!(joined(&choices, "/delta/content"), whole["message"]["content"].as_str().unwrap());
        assert_eq!(whole["message"]["content"] == "", abstains, "{whole:#}");
        assert!(choices.iter().all(|choice| choice["delta"].get("reasoning_content").is_none()));
        let told = choices.iter().any(|choice| !choice["logprobs"].is_null());
        assert_eq!((told, whole["logprobs"].is_null()), (!abstains, abstains));
        assert_eq!(choices.last().unwrap()["stepwise"], whole["stepwise"]);
    }
}

#[tokio::test]
async fn what_is_wrong_before_the_first_piece_is_an_answer_with_a_status() {
    let app = with_student(desk_labels()).await;
    let too_long = "the order came late ".repeat(300);
    complete(&app, json!({"stream": true, "prompt": too_long})).await.refused(
        400,
        "context_length_exceeded",
        "#/prompt",
    );
    complete(&app, json!({"stream": true, "prompt": [[5, 99_999]]})).await.refused(400, "invalid_value", "#/prompt/0");
    let message = json!([{"role": "user", "content": too_long}]);
    let refused = chat(&app, json!({"stream": true, "messages": message})).await;
    refused.refused(400, "context_length_exceeded", "#/messages/0/content");
    let missing = chat(&app, json!({"stream": true, "model": "tinny"})).await;
    assert_eq!((missing.status, missing.code()), (404, "model_not_found"));
    assert_eq!(app.state.engine.waiting(), 0);
}

#[tokio::test]
async fn what_goes_wrong_in_the_midst_of_a_stream_is_its_last_chunk() {
    let app = with_talker(LabelSet::Open).await;
    let mut stream = app.stream("/v1/completions", &long(&json!("explain: refund"), 1000)).await;
    stream.chunk().await;
    app.state.engine.stop().await;
    let mut last = Value::Null;
    while let Some(data) = stream.next().await {
        last = serde_json::from_str(&data).unwrap_or_else(|_| panic!("{data} after an error"));
    }
    let error = &last["error"];
    assert_eq!((&error["type"], &error["param"]), (&json!("service_unavailable"), &json!(null)), "{last:#}");
    assert!(error["code"].is_string() && error["message"].is_string() && last.as_object().unwrap().len() == 1);
}

#[tokio::test]
async fn a_client_that_goes_away_gives_its_places_back() {
    let app = with_talker(LabelSet::Open).await;
    // As many prompts as the queue has places: while they are answered, nobody else is.
    let prompts = json!(vec!["explain: refund"; 64]);
    let mut stream = app.stream("/v1/completions", &long(&prompts, 1000)).await;
    stream.chunk().await;
    let refused = complete(&app, json!({})).await;
    assert_eq!((refused.status, refused.code()), (429, "overloaded"));
    drop(stream);
    while app.state.engine.waiting() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(complete(&app, json!({})).await.status, 200);
}
