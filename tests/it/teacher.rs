//! The teacher client against servers of every temper, over real HTTP, and against the scripted teacher.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use serde_json::json;
use stepwise::domain::{AnnotationStatus, AnswerForm, Secret, TeacherApi};
use stepwise::outbound::install_tls;
use stepwise::task::prompt::AnswerSchema;
use stepwise::task::{answer, builtin, prompt};
use stepwise::teacher::pace::{BookError, Exchange, Grant, PaceBook};
use stepwise::teacher::scripted::{ScriptedError, ScriptedSettings, ScriptedTeacher};
use stepwise::teacher::{
    CompletionRequest, Dispensable, MaxTokensParameter, TeacherClient, TeacherError, TeacherSettings,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{listening::serve, teacher::question};

/// A part of a reply's body.
type Chunk = Result<&'static str, std::io::Error>;

/// Where a port was free a moment ago.
async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A server that answers every chat request with what `reply` makes.
async fn replying<R: IntoResponse + 'static>(reply: impl Fn() -> R + Clone + Send + Sync + 'static) -> SocketAddr {
    serve(Router::new().route("/v1/chat/completions", post(async move || reply().into_response()))).await
}

fn settings(address: SocketAddr) -> TeacherSettings {
    TeacherSettings::new("palm", &format!("http://{address}/v1"), "model")
}

fn request(task: &str, input: &str) -> CompletionRequest {
    let task = builtin::find(task).unwrap();
    CompletionRequest {
        max_output_tokens: 256,
        stop: prompt::stop_sequences(&task),
        idempotency_key: Some("job-1/0".to_owned()),
        ..question(prompt::chat(&task, AnswerForm::default(), input))
    }
}

async fn ask(settings: TeacherSettings) -> Result<stepwise::teacher::Completion, TeacherError> {
    TeacherClient::new(settings).unwrap().complete(&request("text", "hello")).await
}

async fn error_of<R: IntoResponse + 'static>(reply: impl Fn() -> R + Clone + Send + Sync + 'static) -> TeacherError {
    ask(settings(replying(reply).await)).await.unwrap_err()
}

fn good_reply() -> axum::Json<serde_json::Value> {
    axum::Json(json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "r\nAnswer: a"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }))
}

#[tokio::test]
async fn a_completion_brings_text_reason_and_counts() {
    let completion = ask(settings(replying(good_reply).await)).await.unwrap();
    assert_eq!((completion.text.as_str(), completion.finish_reason.as_deref()), ("r\nAnswer: a", Some("stop")));
    assert_eq!((completion.input_tokens, completion.output_tokens), (7, 3));
}

#[tokio::test]
async fn a_reply_without_usage_or_with_a_refusal_is_still_a_completion() {
    let reply = || axum::Json(json!({"choices": [{"message": {"content": null, "refusal": "I can't."}}]}));
    let completion = ask(settings(replying(reply).await)).await.unwrap();
    let guessed = request("text", "hello").guessed("I can't.");
    assert_eq!((completion.text.as_str(), completion.tokens()), ("I can't.", guessed));
    assert_eq!(completion.finish_reason.as_deref(), Some("refusal"));
}

#[tokio::test]
async fn the_request_carries_key_idempotency_key_and_body() {
    let echo = async |headers: HeaderMap, body: String| {
        let seen = json!({"key": headers[header::AUTHORIZATION].to_str().unwrap(),
            "idempotency": headers["idempotency-key"].to_str().unwrap(), "body": body});
        axum::Json(json!({"choices": [{"message": {"content": seen.to_string()}}]}))
    };
    let mut settings = settings(serve(Router::new().route("/v1/chat/completions", post(echo))).await);
    settings.api_key = Some(Secret::new("sk-hidden".to_owned()));
    let seen: serde_json::Value = serde_json::from_str(&ask(settings).await.unwrap().text).unwrap();
    assert_eq!((&seen["key"], &seen["idempotency"]), (&json!("Bearer sk-hidden"), &json!("job-1/0")));
    let body: serde_json::Value = serde_json::from_str(seen["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&body["model"], &body["max_tokens"], &body["temperature"]),
        (&json!("model"), &json!(256), &json!(0.0))
    );
    assert_eq!((&body["messages"][1]["role"], &body["stop"]), (&json!("user"), &json!(["\nInput:"])));
}

/// The body that a teacher of these settings is sent.
async fn body_sent(adapt: impl FnOnce(&mut TeacherSettings), request: &CompletionRequest) -> String {
    let echo = async |body: String| axum::Json(json!({"choices": [{"message": {"content": body}}]}));
    let mut settings = settings(serve(Router::new().route("/v1/chat/completions", post(echo))).await);
    adapt(&mut settings);
    TeacherClient::new(settings).unwrap().complete(request).await.unwrap().text
}

#[tokio::test]
async fn a_sample_is_asked_for_by_its_seed() {
    let plain = request("text", "hello");
    assert!(!body_sent(|_| {}, &plain).await.contains("seed"), "servers that know no seed are not troubled with one");
    let second = CompletionRequest { seed: Some(1), ..plain };
    let body: serde_json::Value = serde_json::from_str(&body_sent(|_| {}, &second).await).unwrap();
    assert_eq!(body["seed"], 1);
}

#[tokio::test]
async fn a_teacher_is_not_sent_what_it_refuses() {
    let adapt = |settings: &mut TeacherSettings| {
        settings.max_tokens_parameter = MaxTokensParameter::MaxCompletionTokens;
        settings.leave_out = vec![Dispensable::Temperature, Dispensable::Stop, Dispensable::Seed];
    };
    let asked = CompletionRequest { seed: Some(1), ..request("text", "hello") };
    let sent: serde_json::Value = serde_json::from_str(&body_sent(adapt, &asked).await).unwrap();
    let messages = &asked.messages;
    assert_eq!(sent, json!({"model": "model", "messages": messages, "max_completion_tokens": 256}));
    let headers = async |headers: HeaderMap| {
        let text = format!("{:?}", headers.get("idempotency-key"));
        axum::Json(json!({"choices": [{"message": {"content": text}}]}))
    };
    let mut settings = settings(serve(Router::new().route("/v1/chat/completions", post(headers))).await);
    settings.leave_out = vec![Dispensable::IdempotencyKey];
    assert_eq!(ask(settings).await.unwrap().text, "None");
}

/// Keeps no pace, and tells what was spent.
#[derive(Debug)]
struct Listening(tokio::sync::mpsc::UnboundedSender<i64>);

impl PaceBook for Listening {
    fn exchange<'a>(&'a self, _: &'a str, exchange: Exchange) -> BoxFuture<'a, Result<Grant, BookError>> {
        if let Some(report) = exchange.report.filter(|report| report.answered > 0) {
            self.0.send(report.spent.tokens).unwrap();
        }
        futures::future::ok(Grant { permits: 1, ..Grant::default() }).boxed()
    }
}

#[tokio::test]
async fn the_pace_is_told_of_tokens_that_the_teacher_does_not_count() {
    let (sender, mut spent) = tokio::sync::mpsc::unbounded_channel();
    let reply = || axum::Json(json!({"choices": [{"message": {"content": "So.\nAnswer: a"}}]}));
    let client = TeacherClient::new(settings(replying(reply).await)).unwrap();
    let client = client.at_the_pace_of(Arc::new(Listening(sender)));
    let asked = request("text", "hello");
    client.complete(&asked).await.unwrap();
    assert_eq!(spent.recv().await.unwrap(), asked.guessed("So.\nAnswer: a").total());
}

#[tokio::test]
async fn a_schema_is_sent_to_a_teacher_that_keeps_to_one() {
    let task = builtin::find("esnli").unwrap();
    let answer_schema = prompt::answer_schema(&task, AnswerForm::Json);
    let request = CompletionRequest { answer_schema, ..request("esnli", "a</s>b") };
    assert!(!body_sent(|_| {}, &request).await.contains("response_format"));
    let sent = body_sent(|settings| settings.json_schema = true, &request).await;
    let body: serde_json::Value = serde_json::from_str(&sent).unwrap();
    let text = json!({"type": "string"});
    let labels = json!({"type": "string", "enum": ["entailment", "neutral", "contradiction"]});
    let schema = json!({"type": "object", "properties": {"rationale": text, "label": labels},
        "required": ["rationale", "label"], "additionalProperties": false});
    let wanted = json!({"type": "json_schema", "json_schema": {"name": "answer", "strict": true, "schema": schema}});
    assert_eq!(body["response_format"], wanted);
    assert!(sent.find(r#""rationale":{"#) < sent.find(r#""label":{"#), "members are written in this order: {sent}");
}

#[tokio::test]
async fn a_teacher_of_plain_completions_goes_on_from_one_text() {
    let echo = async |body: String| axum::Json(json!({"choices": [{"text": body, "finish_reason": "length"}]}));
    let address = serve(Router::new().route("/v1/completions", post(echo))).await;
    let settings = TeacherSettings { api: TeacherApi::Completions, json_schema: true, ..settings(address) };
    let asked = CompletionRequest { seed: Some(3), ..request("text", "hello") };
    let completion = TeacherClient::new(settings).unwrap().complete(&asked).await.unwrap();
    assert_eq!(completion.finish_reason.as_deref(), Some("length"));
    let body: serde_json::Value = serde_json::from_str(&completion.text).unwrap();
    let prompt = prompt::as_text(&asked.messages);
    let expected = json!({"model": "model", "prompt": prompt, "temperature": 0.0, "max_tokens": 256,
        "stop": ["\nInput:"], "seed": 3});
    assert_eq!(body, expected);
}

#[tokio::test]
async fn the_scripted_teacher_answers_either_way_of_asking_and_a_repair_as_well() {
    let address = scripted(RECORDED, Duration::ZERO).await;
    let (task, input) = (builtin::find("esnli").unwrap(), "A dog runs.</s>A cat sits.");
    for api in [TeacherApi::Chat, TeacherApi::Completions] {
        let client = TeacherClient::new(TeacherSettings { api, ..settings(address) }).unwrap();
        let first = client.complete(&request("esnli", input)).await.unwrap();
        assert_eq!(first.text, "It may.\nAnswer: neutral", "{api:?}");
        let messages = prompt::repair(&task, AnswerForm::default(), input, &first.text, "it is not sure");
        let again = CompletionRequest { messages, seed: Some(1), ..request("esnli", input) };
        assert_eq!(client.complete(&again).await.unwrap().text, "No.\nAnswer: contradiction", "{api:?}");
    }
}

#[test]
fn a_request_is_the_same_question_by_all_that_its_answer_depends_on() {
    let client = |base_url: &str, model: &str, json_schema: bool| {
        let settings = TeacherSettings { json_schema, ..TeacherSettings::new("a", base_url, model) };
        TeacherClient::new(settings).unwrap()
    };
    let (here, asked) = (client("http://h/v1", "m", false), request("esnli", "a</s>b"));
    let same = here.request_sha256(&CompletionRequest { idempotency_key: Some("another".to_owned()), ..asked.clone() });
    assert_eq!(client("http://h/v1/", "m", false).request_sha256(&asked), same, "by whatever name it is configured");
    let plain = TeacherSettings { api: TeacherApi::Completions, ..TeacherSettings::new("a", "http://h/v1", "m") };
    let plain = TeacherClient::new(plain).unwrap();
    let schema = CompletionRequest { answer_schema: Some(AnswerSchema { labels: None }), ..asked.clone() };
    let mut digests = vec![
        same,
        client("http://other/v1", "m", false).request_sha256(&asked),
        client("http://h/v1", "n", false).request_sha256(&asked),
        client("http://h/v1", "m", true).request_sha256(&schema),
        plain.request_sha256(&asked),
    ];
    // Samples stay different questions where their seed is not sent.
    let seedless = |leave_out: &[Dispensable], seed: u64| {
        let settings = TeacherSettings::new("a", "http://h/v1", "m");
        let client = TeacherClient::new(TeacherSettings { leave_out: leave_out.to_vec(), ..settings }).unwrap();
        client.request_sha256(&CompletionRequest { seed: Some(seed), ..asked.clone() })
    };
    digests.extend([seedless(&[Dispensable::Seed], 1), seedless(&[Dispensable::Seed], 2)]);
    digests.push(seedless(&[Dispensable::Temperature], 1));
    digests.extend(
        [
            CompletionRequest { seed: Some(1), ..asked.clone() },
            CompletionRequest { temperature: 0.5, ..asked.clone() },
            CompletionRequest { max_output_tokens: 255, ..asked.clone() },
            CompletionRequest { stop: Vec::new(), ..asked.clone() },
            request("esnli", "a</s>c"),
        ]
        .map(|other| here.request_sha256(&other)),
    );
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count);
}

#[tokio::test]
async fn a_rate_limit_says_how_long_to_wait_in_either_form() {
    let limited = |headers: [(&'static str, &'static str); 1]| {
        error_of(move || (StatusCode::TOO_MANY_REQUESTS, headers, r#"{"error":{"message":"slow down"}}"#))
    };
    let error = limited([("retry-after", "7")]).await;
    assert!(error.is_retryable() && error.to_string().contains("slow down"), "{error}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    let past = limited([("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")]).await;
    assert_eq!(past.retry_after(), Some(Duration::ZERO));
    for absurd in ["Wed, 21 Oct 2195 07:28:00 GMT", "31536000", "soon"] {
        assert_eq!(limited([("retry-after", absurd)]).await.retry_after(), None, "{absurd}");
    }
}

#[tokio::test]
async fn a_spent_quota_is_not_tried_again() {
    let body = r#"{"error":{"message":"no money left","code":"insufficient_quota"}}"#;
    let error = error_of(move || (StatusCode::TOO_MANY_REQUESTS, body)).await;
    assert!(error.is_fatal() && !error.is_retryable() && error.to_string().contains("no money left"), "{error}");
}

#[tokio::test]
async fn statuses_are_sorted_into_those_that_may_pass_and_those_that_do_not() {
    for (status, retryable) in
        [(500, true), (502, true), (503, true), (529, true), (408, true), (400, false), (404, false)]
    {
        let error = error_of(move || (StatusCode::from_u16(status).unwrap(), "plain words")).await;
        assert_eq!(error.is_retryable(), retryable, "{error}");
        assert!(error.to_string().contains("plain words"), "{error}");
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_unreachable() {
    let error = ask(settings(free_address().await)).await.unwrap_err();
    assert!(matches!(error, TeacherError::Unreachable { .. }) && error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("http://127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn replies_that_are_no_completions_are_named() {
    for (body, part, is_passing) in [
        ("<html>", "not JSON", true),
        ("", "empty", true),
        (r#"{"choices":[]}"#, "no choices", true),
        (r#"{"output":[]}"#, "no choices", false),
        (r#"{"choices":[{"index":0}]}"#, "neither a message nor a text", false),
        (r#"{"choices":[{"message":{"content":7}}]}"#, "something else", false),
        (r#"{"choices":[{"message":{"content":"cut o"#, "in the midst", true),
    ] {
        let error = error_of(move || body).await;
        let passes = matches!(error, TeacherError::BadReply { .. });
        assert!(passes || matches!(error, TeacherError::OtherShape { .. }), "{error:?}");
        // What a proxy spoiled may come whole the next time; a server of another kind stays one.
        assert_eq!((error.is_retryable(), passes), (passes, is_passing), "{error:?}");
        assert!(error.to_string().contains(part) && error.may_have_been_done(), "{error}");
    }
}

#[tokio::test]
async fn an_error_in_a_reply_of_status_200_is_that_error() {
    let error = error_of(|| r#"{"error":{"code":429,"message":"slow down"}}"#).await;
    assert!(error.is_rate_limit() && error.to_string().contains("slow down"), "{error:?}");
    let error = error_of(|| r#"{"error":{"code":"weird","message":"no words"}}"#).await;
    assert!(!error.is_retryable() && error.to_string().contains("no words"), "{error:?}");
}

#[tokio::test]
async fn a_body_over_the_cap_is_not_read_to_its_end() {
    let endless = || {
        let chunk = bytes::Bytes::from(vec![b' '; 1 << 16]);
        Body::from_stream(futures::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone())))
    };
    let error = error_of(endless).await;
    assert!(matches!(&error, TeacherError::BadReply { reason, .. } if reason.contains("bytes")), "{error:?}");
    let announced =
        || ([(header::CONTENT_LENGTH, "104857600")], Body::from_stream(futures::stream::pending::<Chunk>()));
    let error = error_of(announced).await;
    assert!(
        matches!(&error, TeacherError::BadReply { reason, .. } if reason.contains("announces 104857600")),
        "{error:?}"
    );
    let error = error_of(move || (StatusCode::INTERNAL_SERVER_ERROR, endless())).await;
    assert!(matches!(&error, TeacherError::Status { .. }), "{error:?}");
}

/// A reply that sends these parts, each so long after the one before.
fn dribble(parts: Vec<&'static str>, pause: Duration) -> Body {
    Body::from_stream(futures::stream::iter(parts).then(move |part| async move {
        tokio::time::sleep(pause).await;
        Chunk::Ok(part)
    }))
}

#[tokio::test]
async fn a_reply_that_trickles_is_given_up_long_before_the_deadline() {
    let reply = || dribble(vec!["{"; 100_000], Duration::from_millis(40));
    let mut settings = settings(replying(reply).await);
    // A twelfth of it is looked at: a quarter of a second, in which an honest reply brings 25 bytes.
    settings.request_timeout = Duration::from_secs(3);
    let error = ask(settings).await.unwrap_err();
    assert!(matches!(error, TeacherError::TooSlow { .. }) && error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("fewer than 100 a second"), "{error}");
}

#[tokio::test]
async fn empty_lines_while_the_teacher_thinks_are_no_trickle() {
    let answer = r#"{"choices":[{"message":{"content":"Answer: a"}}]}"#;
    let reply = move || dribble([vec!["\n"; 12], vec![answer]].concat(), Duration::from_millis(20));
    let mut settings = settings(replying(reply).await);
    settings.request_timeout = Duration::from_millis(1200);
    assert_eq!(ask(settings).await.unwrap().text, "Answer: a");
}

#[tokio::test]
async fn a_teacher_that_hangs_or_trickles_is_timed_out() {
    let hang = async || std::future::pending::<Response>().await;
    let trickle = async || {
        let drop_by_drop = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, std::io::Error>(" "), ()))
        });
        Body::from_stream(drop_by_drop)
    };
    let path = "/v1/chat/completions";
    for router in [Router::new().route(path, post(hang)), Router::new().route(path, post(trickle))] {
        let mut settings = settings(serve(router).await);
        settings.request_timeout = Duration::from_millis(200);
        let error = ask(settings).await.unwrap_err();
        assert!(matches!(error, TeacherError::TimedOut { .. }) && error.is_retryable(), "{error:?}");
        assert!(error.to_string().contains("0.2 s"), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_off_in_a_reply_may_be_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.read(&mut [0; 4096]).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{").await.unwrap();
    });
    let error = ask(settings(address)).await.unwrap_err();
    assert!(matches!(error, TeacherError::BrokenOff { .. }) && error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let away = async || (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/elsewhere")]);
    let router =
        Router::new().route("/v1/chat/completions", post(away)).route("/elsewhere", any(async || good_reply()));
    let error = ask(settings(serve(router).await)).await.unwrap_err();
    assert!(matches!(error, TeacherError::Status { status, .. } if status.as_u16() == 307), "{error:?}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn no_error_and_no_debug_text_shows_the_key() {
    let echoing = async |headers: HeaderMap| {
        let key = headers[header::AUTHORIZATION].to_str().unwrap().to_owned();
        (StatusCode::UNAUTHORIZED, format!(r#"{{"error":{{"message":"wrong key {key}"}}}}"#))
    };
    let address = serve(Router::new().route("/v1/chat/completions", post(echoing))).await;
    for address in [address, free_address().await] {
        let mut settings = settings(address);
        settings.api_key = Some(Secret::new("sk-hidden".to_owned()));
        let client = TeacherClient::new(settings).unwrap();
        let error = client.complete(&request("text", "hello")).await.unwrap_err();
        let mut causes = String::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            causes += &format!("{error} {error:?}");
            cause = error.source();
        }
        let shown = format!("{client:?} {error} {error:?} {causes}");
        assert!(!shown.contains("sk-hidden"), "{shown}");
    }
}

/// A scripted teacher over these lines, and its address.
async fn scripted(lines: &str, delay: Duration) -> SocketAddr {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.as_bytes()).unwrap();
    let settings = ScriptedSettings { delay, ..ScriptedSettings::new(file.path().to_owned()) };
    let teacher = ScriptedTeacher::bind(settings).await.unwrap();
    let address = teacher.local_addr();
    tokio::spawn(teacher.run(std::future::pending()));
    address
}

const RECORDED: &str = concat!(
    r#"{"input":"A dog runs.</s>A pet moves.","llm_output":"A dog is a pet.\nAnswer: entailment\n\nPremise: A","id":"x"}"#,
    "\n\n",
    r#"{"input":"A dog runs.</s>A cat sits.","llm_outputs":["It may.\nAnswer: neutral","No.\nAnswer: contradiction"]}"#,
    "\n",
);

#[tokio::test]
async fn the_scripted_teacher_answers_the_client_and_its_text_parses() {
    let client = TeacherClient::new(settings(scripted(RECORDED, Duration::ZERO).await)).unwrap();
    let input = "A dog runs.</s>A pet moves.";
    let completion = client.complete(&request("esnli", input)).await.unwrap();
    assert_eq!(completion.text, "A dog is a pet.\nAnswer: entailment\n");
    assert!(completion.input_tokens > 50 && completion.output_tokens == 7, "{completion:?}");
    let parsed = answer::parse(&builtin::find("esnli").unwrap(), AnswerForm::default(), input, &completion.text, false);
    assert_eq!((parsed.status, parsed.label.as_deref()), (AnnotationStatus::Valid, Some("entailment")));
}

#[tokio::test]
async fn the_scripted_teacher_names_the_question_that_it_does_not_know() {
    let client = TeacherClient::new(settings(scripted(RECORDED, Duration::ZERO).await)).unwrap();
    let error = client.complete(&request("esnli", "A bird sings.</s>A pet moves.")).await.unwrap_err();
    assert!(matches!(error, TeacherError::Status { status, .. } if status.as_u16() == 422), "{error:?}");
    assert!(error.to_string().contains("A bird sings."), "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn the_scripted_teacher_speaks_plain_completions_and_lists_its_model() {
    let address = scripted(RECORDED, Duration::ZERO).await;
    let body =
        json!({"prompt": "Premise: A dog runs.\nHypothesis: A cat sits.\nReasonings:", "n": 2, "stop": "\nAnswer"});
    install_tls();
    let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
    let call = http.post(format!("http://{address}/v1/completions")).json(&body).send().await.unwrap();
    let reply: serde_json::Value = call.json().await.unwrap();
    assert_eq!((&reply["choices"][0]["text"], &reply["choices"][1]["text"]), (&json!("It may."), &json!("No.")));
    let models = http.get(format!("http://{address}/v1/models")).send().await.unwrap();
    assert_eq!(models.json::<serde_json::Value>().await.unwrap()["data"][0]["id"], json!("scripted"));
    let bad = http.post(format!("http://{address}/v1/chat/completions")).body("{").send().await.unwrap();
    assert_eq!(bad.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_scripted_teacher_takes_its_time_when_told() {
    let mut settings = settings(scripted(RECORDED, Duration::from_secs(60)).await);
    settings.request_timeout = Duration::from_millis(100);
    let client = TeacherClient::new(settings).unwrap();
    let error = client.complete(&request("esnli", "A dog runs.</s>A pet moves.")).await.unwrap_err();
    assert!(matches!(error, TeacherError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn answers_that_cannot_be_read_are_named_by_file_and_line() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"{\"input\":\"a\",\"llm_output\":\"b\"}\n{\"input\":\"a\"}\n").unwrap();
    let bind = |answers| ScriptedTeacher::bind(ScriptedSettings::new(answers));
    let error = bind(file.path().to_owned()).await.unwrap_err();
    assert!(
        matches!(error, ScriptedError::Line { line: 2, .. }) && error.to_string().contains("llm_output"),
        "{error}"
    );
    let error = bind("/no/such/file".into()).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/file"), "{error}");
}
