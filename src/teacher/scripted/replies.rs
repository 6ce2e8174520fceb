//! The OpenAI shapes of the scripted teacher: what a request asks, and the reply that holds recorded texts.

use serde::Deserialize;
use serde_json::{Value, json};

use super::faults::Fault;

/// The name of the one model that `/v1/models` lists; requests may name any.
const MODEL: &str = "scripted";
/// Samples in one reply, at most.
const MAX_CHOICES: usize = 128;
/// An answer whose label is in no set.
const WRONG: &str = "That is another question.\nSo the answer is something else.\nAnswer: something else";

/// Which of the two shapes a request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completions,
}

/// What a request asks.
#[derive(Debug)]
pub(super) struct Asked {
    endpoint: Endpoint,
    /// The last user message, or the prompt.
    pub(super) question: String,
    prompt_tokens: usize,
    options: Options,
}

/// Members that other servers also know and that change nothing here are ignored.
#[derive(Debug, Deserialize)]
struct Options {
    model: Option<String>,
    messages: Option<Vec<AskedMessage>>,
    prompt: Option<String>,
    n: Option<usize>,
    /// The first sample: requests for one sample each can ask for all in turn.
    seed: Option<usize>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    stop: Option<Stop>,
    stream: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct AskedMessage {
    role: String,
    content: Content,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Several(Vec<String>),
}

impl Asked {
    /// Reads a request's body, or says what is wrong with it.
    pub(super) fn read(endpoint: Endpoint, body: &[u8]) -> Result<Self, String> {
        let mut options: Options = serde_json::from_slice(body).map_err(|error| format!("not a request: {error}"))?;
        if options.stream == Some(true) {
            return Err("the scripted teacher does not stream: leave out \"stream\"".to_owned());
        }
        let texts = match endpoint {
            Endpoint::Chat => chat_texts(options.messages.take().ok_or("the request lacks \"messages\"")?),
            Endpoint::Completions => {
                vec![(true, options.prompt.take().ok_or("the request lacks the text \"prompt\"")?)]
            }
        };
        let prompt_tokens = texts.iter().map(|(_, text)| text.split_whitespace().count()).sum();
        let question = texts.into_iter().rev().find(|(from_user, _)| *from_user).map(|(_, text)| text);
        let question = question.ok_or("\"messages\" holds no message of the user")?;
        Ok(Self { endpoint, question, prompt_tokens, options })
    }

    /// Tokens of a reply to this and of the question itself.
    pub(super) fn tokens(reply: &Value) -> usize {
        reply["usage"]["total_tokens"].as_u64().and_then(|tokens| tokens.try_into().ok()).unwrap_or_default()
    }

    /// The reply that holds these recorded outputs, sample by sample, with what a fault makes of the answers.
    pub(super) fn reply(&self, outputs: &[String], fault: Option<Fault>) -> Value {
        let count = self.options.n.unwrap_or(1).clamp(1, MAX_CHOICES);
        let first = self.options.seed.unwrap_or_default() % outputs.len();
        let mut samples: Vec<_> = (0..count).map(|index| self.cut(&outputs[(first + index) % outputs.len()])).collect();
        match fault {
            Some(Fault::WrongLabel) => samples.fill((WRONG, "stop")),
            Some(Fault::CutShort) => samples.iter_mut().for_each(|sample| *sample = (half(sample.0), "length")),
            Some(Fault::Twice) => samples = [samples.clone(), samples].concat(),
            _ => {}
        }
        let completion_tokens: usize = samples.iter().map(|(text, _)| text.split_whitespace().count()).sum();
        let choices: Vec<_> = samples.iter().enumerate().map(|(index, sample)| self.choice(index, sample)).collect();
        let (id, object) = match self.endpoint {
            Endpoint::Chat => ("chatcmpl-scripted", "chat.completion"),
            Endpoint::Completions => ("cmpl-scripted", "text_completion"),
        };
        json!({
            "id": id,
            "object": object,
            "created": 0,
            "model": self.options.model.as_deref().unwrap_or(MODEL),
            "choices": choices,
            "usage": {
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": self.prompt_tokens + completion_tokens,
            },
        })
    }

    fn choice(&self, index: usize, (text, finish_reason): &(&str, &str)) -> Value {
        match self.endpoint {
            Endpoint::Chat => {
                let message = json!({"role": "assistant", "content": text, "refusal": null});
                json!({"index": index, "message": message, "finish_reason": finish_reason, "logprobs": null})
            }
            Endpoint::Completions => {
                json!({"index": index, "text": text, "finish_reason": finish_reason, "logprobs": null})
            }
        }
    }

    /// The text up to the first stop sequence and the token limit, and why it ends there.
    fn cut<'a>(&self, text: &'a str) -> (&'a str, &'static str) {
        let stops = match &self.options.stop {
            Some(Stop::One(stop)) => std::slice::from_ref(stop),
            Some(Stop::Several(stops)) => stops,
            None => &[],
        };
        let end = stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop.as_str())).min();
        let text = &text[..end.unwrap_or(text.len())];
        let limit = self.options.max_completion_tokens.or(self.options.max_tokens).unwrap_or(usize::MAX);
        first_tokens(text, limit).map_or((text, "stop"), |shorter| (shorter, "length"))
    }
}

/// The first half of a text's words.
fn half(text: &str) -> &str {
    first_tokens(text, text.split_whitespace().count() / 2).unwrap_or_default()
}

/// The first `limit` tokens of a text that has more.
fn first_tokens(text: &str, limit: usize) -> Option<&str> {
    let next = text.split_whitespace().nth(limit)?;
    let start = next.as_ptr() as usize - text.as_ptr() as usize;
    Some(text[..start].trim_end())
}

fn chat_texts(messages: Vec<AskedMessage>) -> Vec<(bool, String)> {
    let text = |content| match content {
        Content::Text(text) => text,
        Content::Parts(parts) => parts.into_iter().map(|part| part.text).collect(),
    };
    messages.into_iter().map(|message| (message.role == "user", text(message.content))).collect()
}

/// OpenAI's error body.
pub(super) fn error(code: &str, message: &str) -> Value {
    json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": code}})
}

/// OpenAI's list of models.
pub(super) fn models() -> Value {
    json!({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "stepwise"}]})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(endpoint: Endpoint, body: Value, outputs: &[&str]) -> Value {
        let outputs: Vec<_> = outputs.iter().map(|&output| output.to_owned()).collect();
        Asked::read(endpoint, body.to_string().as_bytes()).unwrap().reply(&outputs, None)
    }

    #[test]
    fn stop_and_max_tokens_cut_the_text() {
        let body = |extra: Value| {
            let mut body = json!({"prompt": "one two", "max_tokens": 50});
            body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            body
        };
        let cut = |extra| {
            let reply = ask(Endpoint::Completions, body(extra), &["a b  c\nInput: d"]);
            let choice = &reply["choices"][0];
            (choice["text"].as_str().unwrap().to_owned(), choice["finish_reason"].as_str().unwrap().to_owned())
        };
        assert_eq!(cut(json!({})), ("a b  c\nInput: d".into(), "stop".into()));
        assert_eq!(cut(json!({"stop": ["\nInput:"]})), ("a b  c".into(), "stop".into()));
        assert_eq!(cut(json!({"stop": "b"})), ("a ".into(), "stop".into()));
        assert_eq!(cut(json!({"max_tokens": 2})), ("a b".into(), "length".into()));
        assert_eq!(cut(json!({"max_tokens": 3, "stop": "\nInput:"})), ("a b  c".into(), "stop".into()));
    }

    #[test]
    fn samples_come_in_turn() {
        let body =
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}], "n": 3, "seed": 1});
        let reply = ask(Endpoint::Chat, body, &["a", "b"]);
        let texts: Vec<_> =
            reply["choices"].as_array().unwrap().iter().map(|choice| choice["message"]["content"].clone()).collect();
        assert_eq!(texts, ["b", "a", "b"]);
        assert_eq!(reply["usage"], json!({"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}));
    }

    #[test]
    fn requests_that_cannot_be_answered_say_why() {
        for (body, part) in [
            ("{", "not a request"),
            ("{}", "messages"),
            (r#"{"messages":[{"role":"system","content":"a"}]}"#, "user"),
            (r#"{"messages":[],"stream":true}"#, "stream"),
        ] {
            let reason = Asked::read(Endpoint::Chat, body.as_bytes()).unwrap_err();
            assert!(reason.contains(part), "{reason}");
        }
    }
}
