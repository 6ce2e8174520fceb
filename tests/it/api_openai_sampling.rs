//! Answers that are drawn, and how likely their tokens were.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use serde_json::{Value, json};
use stepwise::domain::LabelSet;

use crate::api_openai::{INPUT, chat, complete, predict, with_talker};
use crate::support::{app::TestApp, exposition::Exposition, student::desk_labels};

#[tokio::test]
async fn a_seed_repeats_an_answer_in_any_company() {
    let app = with_talker(LabelSet::Open).await;
    let ask = |seed: i64, changes: Value| {
        let mut request = json!({"temperature": 1.0, "top_p": 0.95, "top_k": 60, "seed": seed, "max_tokens": 20});
        request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let asked = complete(&app, request);
        async move { asked.await.body["choices"].clone() }
    };
    let mut alone = Vec::new();
    for seed in 0..6 {
        alone.push(ask(seed, json!({})).await);
    }
    let texts: BTreeSet<String> = alone.iter().map(|choices| choices[0]["text"].to_string()).collect();
    assert!(texts.len() > 3, "all seeds draw alike: {texts:?}");
    let greedy = complete(&app, json!({"max_tokens": 20})).await.body["choices"].clone();
    // Beside greedy and searched answers and each other.
    let others = join_all((0..6).map(|at| complete(&app, json!({"max_tokens": 5 + 3 * at, "beams": 1 + at % 2}))));
    let drawn = join_all((0..6).map(|seed| ask(seed, json!({}))));
    let again = complete(&app, json!({"max_tokens": 20}));
    let (_, drawn, again) = tokio::join!(others, drawn, again);
    assert_eq!(drawn, alone);
    assert_eq!(again.body["choices"], greedy);

    let many = ask(2, json!({"n": 4})).await;
    assert_eq!(many[0]["text"], alone[2][0]["text"], "the first of several is the one that comes alone");
    let texts: BTreeSet<String> = many.as_array().unwrap().iter().map(|choice| choice["text"].to_string()).collect();
    assert!(texts.len() > 1 && many[3]["index"] == 3, "{many:#}");
    let two = ask(2, json!({"n": 2, "prompt": ["late", format!("predict: {INPUT}")]})).await;
    assert_eq!((&two[2]["text"], &two[2]["index"]), (&alone[2][0]["text"], &json!(2)));
    let cold = complete(&app, json!({"max_tokens": 20, "temperature": 1e-9})).await.body["choices"].clone();
    assert_eq!(cold, greedy, "what is drawn at no temperature is the likeliest");
    let first = complete(&app, json!({"max_tokens": 20, "temperature": 2, "top_k": 1, "seed": 9})).await;
    assert_eq!(first.body["choices"], greedy, "and so is the one that is left");
    let fresh: BTreeSet<String> =
        join_all((0..8).map(|_| complete(&app, json!({"max_tokens": 20, "temperature": 1.5}))))
            .await
            .iter()
            .map(|answer| answer.body["choices"][0]["text"].to_string())
            .collect();
    assert!(fresh.len() > 1, "without a seed every answer is the same");
}

#[tokio::test]
async fn several_answers_to_a_prompt_count_its_tokens_once() {
    let app = with_talker(LabelSet::Open).await;
    let one = complete(&app, json!({"max_tokens": 5, "min_tokens": 5})).await.body["usage"].clone();
    let three =
        json!({"max_tokens": 5, "min_tokens": 5, "n": 3, "best_of": 3, "temperature": 1, "prompt": ["late", "late"]});
    let three = complete(&app, three).await.body["usage"].clone();
    let late = complete(&app, json!({"prompt": "late"})).await.body["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!((&one["completion_tokens"], &three["completion_tokens"]), (&json!(5), &json!(30)));
    assert_eq!(three["prompt_tokens"].as_u64(), Some(2 * late));
}

#[tokio::test]
async fn logprobs_tell_each_token_and_what_else_was_likely_there() {
    let app = with_talker(LabelSet::Open).await;
    let choice = complete(&app, json!({"max_tokens": 12, "logprobs": 3})).await.body["choices"][0].clone();
    let logprobs = &choice["logprobs"];
    let list = |name: &str| logprobs[name].as_array().unwrap().clone();
    let (tokens, numbers, tops, offsets) =
        (list("tokens"), list("token_logprobs"), list("top_logprobs"), list("text_offset"));
    assert_eq!([tokens.len(), numbers.len(), tops.len(), offsets.len()], [12; 4]);
    let text: String = tokens.iter().map(|token| token.as_str().unwrap()).filter(|token| *token != "<unk>").collect();
    assert_eq!(text.trim_end(), choice["text"].as_str().unwrap());
    for ((token, number), top) in tokens.iter().zip(&numbers).zip(&tops) {
        let top: BTreeMap<String, f64> = serde_json::from_value(top.clone()).unwrap();
        let best = top.values().copied().fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(number.as_f64(), Some(best), "a greedy token is the likeliest");
        assert_eq!(top[token.as_str().unwrap()], best);
        assert!((1..=3).contains(&top.len()) && top.values().map(|number| number.exp()).sum::<f64>() <= 1.0 + 1e-6);
    }
    let bare = complete(&app, json!({"max_tokens": 12, "logprobs": 0})).await.body["choices"][0].clone();
    assert_eq!(
        (&bare["logprobs"]["token_logprobs"], &bare["logprobs"]["top_logprobs"]),
        (&json!(numbers), &json!(null))
    );
    let echoed =
        complete(&app, json!({"max_tokens": 12, "logprobs": 0, "echo": true})).await.body["choices"][0].clone();
    let after = format!("predict: {INPUT}").chars().count() as u64;
    assert_eq!(echoed["logprobs"]["text_offset"][0], json!(after));
    // The temperature changes what is drawn and not how likely it was.
    let drawn = json!({"max_tokens": 1, "logprobs": 5, "temperature": 2.0, "seed": 3});
    let drawn = complete(&app, drawn).await.body["choices"][0]["logprobs"].clone();
    let greedy = complete(&app, json!({"max_tokens": 1, "logprobs": 5})).await.body["choices"][0]["logprobs"].clone();
    let top = |of: &Value| {
        serde_json::from_value::<Vec<BTreeMap<String, f64>>>(of["top_logprobs"].clone()).unwrap().remove(0)
    };
    for (token, number) in top(&greedy) {
        assert_eq!(top(&drawn)[&token], number);
    }
}

#[tokio::test]
async fn a_stop_cuts_the_tokens_with_the_text() {
    let app = with_talker(LabelSet::Open).await;
    let whole = complete(&app, json!({"max_tokens": 12, "logprobs": 0})).await.body["choices"][0].clone();
    let text = whole["text"].as_str().unwrap();
    let stop: String = text.chars().skip(text.chars().count() / 2).take(1).collect();
    let cut = complete(&app, json!({"max_tokens": 12, "logprobs": 0, "stop": stop})).await.body["choices"][0].clone();
    let end = cut["text"].as_str().unwrap().chars().count() as u64;
    let kept = cut["logprobs"]["text_offset"].as_array().unwrap();
    assert!(kept.iter().all(|offset| offset.as_u64().unwrap() < end) && !kept.is_empty(), "{cut:#}");
    let all = whole["logprobs"]["token_logprobs"].as_array().unwrap();
    assert_eq!(cut["logprobs"]["token_logprobs"].as_array().unwrap()[..], all[..kept.len()]);
}

#[tokio::test]
async fn the_tokens_of_a_label_of_a_set_are_as_likely_as_when_the_student_writes_it() {
    let app = with_talker(desk_labels()).await;
    let choice = chat(&app, json!({"logprobs": true, "top_logprobs": 2})).await.body["choices"][0].clone();
    let tokens = choice["logprobs"]["content"].as_array().unwrap();
    let (last, words) = tokens.split_last().unwrap();
    let text: String = words.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert_eq!((text.as_str(), &last["token"]), (choice["message"]["content"].as_str().unwrap(), &json!("</s>")));
    assert_eq!(
        (&last["bytes"], &words[0]["bytes"]),
        (&json!(null), &json!(words[0]["token"].as_str().unwrap().as_bytes()))
    );
    assert!(tokens.iter().all(|token| token["top_logprobs"].as_array().unwrap().len() == 2));
    // Of two labels the odds are those of their tokens' probabilities.
    let sum = async |label: &str, other: &str| {
        let of = json!({"logprobs": true, "label_set": [label, other], "include": ["label_probs"], "temperature": 1.0});
        // Drawn until this label comes.
        for seed in 0..200 {
            let mut of = of.clone();
            of["seed"] = json!(seed);
            let choice = chat(&app, of).await.body["choices"][0].clone();
            if choice["message"]["content"] == label {
                let tokens = choice["logprobs"]["content"].as_array().unwrap();
                return tokens.iter().map(|token| token["logprob"].as_f64().unwrap()).sum::<f64>();
            }
        }
        panic!("{label} was never drawn");
    };
    let (one, other) = (sum("late", "order").await, sum("order", "late").await);
    let shares = predict(&app, json!({"label_set": ["late", "order"]})).await["label_probs"].clone();
    let odds = (shares["late"].as_f64().unwrap() / shares["order"].as_f64().unwrap()).ln();
    assert!((odds - (one - other)).abs() < 1e-3, "{odds} {one} {other}");
}

#[tokio::test]
async fn a_label_of_a_set_is_drawn_from_its_probabilities() {
    let app = with_talker(desk_labels()).await;
    let predicted = predict(&app, json!({})).await;
    let shares: BTreeMap<String, f64> = serde_json::from_value(predicted["label_probs"].clone()).unwrap();
    let asked =
        (0..25).map(|seed| chat(&app, json!({"temperature": 1, "n": 16, "seed": seed, "include": ["confidence"]})));
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    for asked in asked {
        for choice in asked.await.body["choices"].as_array().unwrap() {
            let label = choice["message"]["content"].as_str().unwrap();
            assert_eq!(choice["stepwise"]["confidence"], json!(shares[label]));
            *counts.entry(label.to_owned()).or_default() += 1.0 / 400.0;
        }
    }
    for (label, share) in &shares {
        let found = counts.get(label).copied().unwrap_or_default();
        let deviation = (share * (1.0 - share) / 400.0).sqrt();
        assert!((found - share).abs() <= 5.0 * deviation + 1e-9, "{label}: {found} of {share}");
    }
    let likeliest = chat(&app, json!({"temperature": 2, "top_k": 1})).await.body["choices"][0].clone();
    assert_eq!(likeliest["message"]["content"], predicted["label"]);
    let once = chat(&app, json!({"temperature": 2, "seed": 5})).await.body["choices"].clone();
    assert_eq!(chat(&app, json!({"temperature": 2, "seed": 5})).await.body["choices"], once);
}

/// Inputs that the engine has answered, and tokens that it has written.
async fn counted(app: &TestApp) -> (u64, u64) {
    let found = Exposition::of(app).await;
    let sum = |name: &str, labels: &[(&str, &str)]| found.sum(&format!("stepwise_inference_{name}"), labels) as u64;
    (sum("requests_total", &[("outcome", "answered")]), sum("generation_tokens_total", &[]))
}

#[tokio::test]
async fn answers_from_one_set_are_weighed_once_and_every_label_is_written_once() {
    let app = with_talker(desk_labels()).await;
    let ask = async |changes: Value| {
        let mut request = json!({"temperature": 2, "n": 16, "seed": 3, "logprobs": true, "top_logprobs": 1});
        request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let before = counted(&app).await;
        let answer = chat(&app, request).await.body;
        let after = counted(&app).await;
        let tokens = answer["usage"]["completion_tokens"].as_u64().unwrap();
        (answer["choices"].as_array().unwrap().clone(), tokens, (after.0 - before.0, after.1 - before.1))
    };
    let of = |choice: &Value| (choice["message"]["content"].to_string(), choice["logprobs"].clone());
    let length = |logprobs: &Value| logprobs["content"].as_array().unwrap().len() as u64;
    let (choices, _, (inputs, written)) = ask(json!({})).await;
    let labels: BTreeMap<String, Value> = choices.iter().map(of).collect();
    let of_labels: u64 = labels.values().map(length).sum();
    assert_eq!((choices.len(), inputs, written), (16, 1, of_labels), "{choices:#?}");
    assert!(labels.len() > 1, "all draws are alike");
    for choice in &choices {
        let (label, logprobs) = of(choice);
        assert_eq!(logprobs, labels[&label]);
        let words = logprobs["content"].as_array().unwrap().iter().map(|token| token["token"].as_str().unwrap());
        assert_eq!(words.filter(|token| *token != "</s>").collect::<String>(), choice["message"]["content"]);
    }
    // A rationale is drawn for each, and changes no label.
    let (with_rationales, tokens, (inputs, written)) = ask(json!({"include": ["rationale"]})).await;
    let of_choices: u64 = with_rationales.iter().map(|choice| length(&of(choice).1)).sum();
    assert_eq!((inputs, written), (16, tokens - of_choices + of_labels));
    let labels = |choices: &[Value]| choices.iter().map(of).collect::<Vec<_>>();
    assert_eq!(labels(&with_rationales), labels(&choices));
}
