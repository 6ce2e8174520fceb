//! The messages of a chat: the last one of a user is what the student reads.

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::{
    openai::forms::{ContentPart, MessageContent},
    resolve::Refusals,
};

const MAX_MESSAGES: usize = 1000;

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions; not read.
    System,
    /// Instructions; not read.
    Developer,
    /// The last one is the input.
    User,
    /// An earlier answer; not read.
    Assistant,
    /// A tool's result; not read.
    Tool,
    /// A function's result; not read.
    Function,
}

/// One message. Members other than `role` and `content` belong to messages that a student does not read.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the members that no student reads are there to be known by name")]
pub struct ChatMessage {
    /// Who says it.
    #[schema(example = "user")]
    role: Role,
    /// What is said.
    content: Option<MessageContent>,
    /// Who says it, in your words.
    #[schema(example = "anna")]
    name: Option<String>,
    /// An earlier answer's rationale.
    #[schema(example = "Rule 2 decides.")]
    reasoning_content: Option<String>,
    /// An earlier answer's refusal.
    #[schema(example = json!(null))]
    refusal: Option<String>,
    /// An earlier answer's annotations.
    #[schema(value_type = Option<Object>, example = json!(null))]
    annotations: Option<Value>,
    /// An earlier answer's sound.
    #[schema(value_type = Option<Object>, example = json!(null))]
    audio: Option<Value>,
    /// An earlier answer's call of a function.
    #[schema(value_type = Option<Object>, example = json!(null))]
    function_call: Option<Value>,
    /// An earlier answer's calls of tools.
    #[schema(value_type = Option<Object>, example = json!(null))]
    tool_calls: Option<Value>,
    /// The call that a tool's message answers.
    #[schema(example = json!(null))]
    tool_call_id: Option<String>,
}

/// The text of the last user message, with its pointer.
pub fn input(refusals: &mut Refusals, messages: &[ChatMessage]) -> (String, String) {
    refusals.require((1..=MAX_MESSAGES).contains(&messages.len()), "#/messages", || {
        format!("{} messages; send 1 to {MAX_MESSAGES}", messages.len())
    });
    let last = messages.iter().enumerate().rfind(|(_, message)| message.role == Role::User);
    let Some((at, message)) = last else {
        refusals.require(messages.is_empty(), "#/messages", || {
            "no message has the role user; the last one is the input".to_owned()
        });
        return (String::new(), String::new());
    };
    let pointer = format!("#/messages/{at}/content");
    let text = match &message.content {
        None => String::new(),
        Some(MessageContent::Text(text)) => text.clone(),
        Some(MessageContent::Parts(parts)) => {
            (0..).zip(parts).filter_map(|(at, part)| text(refusals, &format!("{pointer}/{at}"), part)).collect()
        }
    };
    refusals.require(!text.trim().is_empty(), &pointer, || "the input is empty".to_owned());
    (text, pointer)
}

fn text(refusals: &mut Refusals, pointer: &str, part: &ContentPart) -> Option<String> {
    if part.kind != "text" {
        let detail = format!("a part of type {:?} is not supported; a student reads text", part.kind);
        refusals.add(format!("{pointer}/type"), "unsupported_parameter", detail);
        // Not empty, so that this part is refused once.
        return Some("?".to_owned());
    }
    if let Some(name) = part.others.keys().next() {
        refusals.add(
            format!("{pointer}/{name}"),
            "unknown_parameter",
            format!("unknown field {name:?}; known: type, text"),
        );
    }
    if part.text.is_none() {
        refusals.add(format!("{pointer}/text"), "missing_field", "the field \"text\" is missing");
    }
    part.text.clone()
}
