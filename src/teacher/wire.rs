//! The shapes of chat completions and plain completions that the client writes and reads; fields that it does not need are left out.

use serde::{Deserialize, Serialize};

use crate::task::prompt::{AnswerSchema, Message};

#[derive(Serialize)]
pub(super) struct Body<'a> {
    pub(super) model: &'a str,
    /// What a chat is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) messages: Option<&'a [Message]>,
    /// What a text is to go on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompt: Option<String>,
    pub(super) temperature: f64,
    /// The newer `max_completion_tokens` is unknown to most self-hosted servers.
    pub(super) max_tokens: u32,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_format: Option<ResponseFormat<'a>>,
}

/// OpenAI's structured outputs, which vLLM, SGLang, llama.cpp, Ollama and Mistral spell the same way. Structs and not a map,
/// because servers write the members in the order of the schema, and the reasoning must come first.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ResponseFormat<'a> {
    JsonSchema { json_schema: NamedSchema<'a> },
}

#[derive(Serialize)]
pub(super) struct NamedSchema<'a> {
    name: &'static str,
    strict: bool,
    schema: ObjectSchema<'a>,
}

/// `strict` wants every member required and no others.
#[derive(Serialize)]
struct ObjectSchema<'a> {
    r#type: &'static str,
    properties: Members<'a>,
    required: [&'static str; 2],
    #[serde(rename = "additionalProperties")]
    additional_properties: bool,
}

#[derive(Serialize)]
struct Members<'a> {
    rationale: TextSchema<'a>,
    label: TextSchema<'a>,
}

#[derive(Serialize)]
struct TextSchema<'a> {
    r#type: &'static str,
    #[serde(rename = "enum", skip_serializing_if = "Option::is_none")]
    labels: Option<&'a [String]>,
}

impl<'a> ResponseFormat<'a> {
    pub(super) fn of(schema: &'a AnswerSchema) -> Self {
        let text = |labels| TextSchema { r#type: "string", labels };
        let schema = ObjectSchema {
            r#type: "object",
            properties: Members { rationale: text(None), label: text(schema.labels.as_deref()) },
            required: ["rationale", "label"],
            additional_properties: false,
        };
        Self::JsonSchema { json_schema: NamedSchema { name: "answer", strict: true, schema } }
    }
}

#[derive(Deserialize)]
pub(super) struct Reply {
    pub(super) choices: Vec<Choice>,
    #[serde(default)]
    pub(super) usage: Option<Usage>,
}

#[derive(Deserialize)]
pub(super) struct Choice {
    #[serde(default)]
    message: Option<ReplyMessage>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    pub(super) finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct ReplyMessage {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

impl Choice {
    /// The teacher's text, its refusal where it sent one instead; `None` where the choice has the form of neither way of
    /// asking.
    pub(super) fn take_text(&mut self) -> Option<String> {
        let said = |message: ReplyMessage| message.content.or(message.refusal).unwrap_or_default();
        self.message.take().map(said).or_else(|| self.text.take())
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Usage {
    #[serde(default)]
    pub(super) prompt_tokens: i64,
    #[serde(default)]
    pub(super) completion_tokens: i64,
}

/// What an error reply says: OpenAI's `error.message`, or plain text of other servers.
pub(super) struct Complaint {
    pub(super) message: String,
    pub(super) code: String,
}

/// Characters of an error reply that are kept.
const MAX_COMPLAINT: usize = 400;

impl Complaint {
    pub(super) fn read(body: &[u8]) -> Self {
        let reply: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let error = &reply["error"];
        let told =
            [&error["message"], error, &reply["detail"], &reply["message"]].into_iter().find_map(|told| told.as_str());
        let text = told.map_or_else(|| String::from_utf8_lossy(body), Into::into);
        let message = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_COMPLAINT).collect();
        Self { message, code: error["code"].as_str().unwrap_or_default().to_owned() }
    }
}
