//! The shapes of chat completions and plain completions that the client writes; those that it reads stand in `said`.

use serde::Serialize;

use super::{CompletionRequest, Dispensable, MaxTokensParameter, TeacherSettings};
use crate::domain::TeacherApi;
use crate::task::prompt::{self, AnswerSchema, Message};

#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    /// What a chat is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<&'a [Message]>,
    /// What a text is to go on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat<'a>>,
}

impl<'a> Body<'a> {
    /// What a teacher of these settings is sent.
    pub(super) fn of(settings: &'a TeacherSettings, request: &'a CompletionRequest) -> Self {
        let (messages, prompt) = match settings.api {
            TeacherApi::Chat => (Some(request.messages.as_slice()), None),
            TeacherApi::Completions => (None, Some(prompt::as_text(&request.messages))),
        };
        let limit = Some(request.max_output_tokens);
        let (max_tokens, max_completion_tokens) = match settings.max_tokens_parameter {
            MaxTokensParameter::MaxTokens => (limit, None),
            MaxTokensParameter::MaxCompletionTokens => (None, limit),
        };
        let schema = request.answer_schema.as_ref().filter(|_| settings.json_schema);
        Self {
            model: &settings.model,
            messages,
            prompt,
            temperature: Some(request.temperature).filter(|_| settings.sends(Dispensable::Temperature)),
            max_tokens,
            max_completion_tokens,
            stop: if settings.sends(Dispensable::Stop) { &request.stop } else { &[] },
            seed: request.seed.filter(|_| settings.sends(Dispensable::Seed)),
            response_format: schema.map(ResponseFormat::of),
        }
    }
}

/// OpenAI's structured outputs, which vLLM, SGLang, llama.cpp, Ollama and Mistral spell the same way. Structs and not a map,
/// because servers write the members in the order of the schema, and the reasoning must come first.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ResponseFormat<'a> {
    JsonSchema { json_schema: NamedSchema<'a> },
}

#[derive(Serialize)]
struct NamedSchema<'a> {
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
    fn of(schema: &'a AnswerSchema) -> Self {
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
