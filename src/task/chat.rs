//! Lines of chat messages: the last turn, if it is the assistant's, answers the last turn of the user. What else was said
//! is not read: a student is asked with the last user message alone, and it must be asked as it was taught.

use serde_json::{Map, Value};

use super::faults::{Fault, storable, wrong_type};

/// What a chat line says.
#[derive(Debug, PartialEq)]
pub(super) struct Exchange {
    /// The last thing that the user said.
    pub input: String,
    /// The answer; none where the last turn is not the assistant's, or weighs nothing.
    pub label: Option<String>,
    /// The reasoning before the answer.
    pub rationale: Option<String>,
}

const FIELDS: [&str; 6] = ["role", "content", "weight", "reasoning_content", "reasoning", "name"];
const TOOLS: [&str; 4] = ["tool_calls", "tool_call_id", "function_call", "audio"];

/// What the messages of one line say.
pub(super) fn read(messages: Vec<Value>) -> Result<Exchange, Fault> {
    let turns = messages.into_iter().enumerate().map(|(index, message)| Turn::read(index, message));
    let mut turns = turns.collect::<Result<Vec<_>, _>>()?;
    if turns.is_empty() {
        return Err(Fault::field("empty", "messages", "\"messages\" holds no message".to_owned()));
    }
    let answer = turns.pop_if(|turn| turn.role == Role::Assistant);
    let Some(question) = turns.into_iter().rfind(|turn| turn.role == Role::User) else {
        let message = "no message before the answer has the role user; the last one is the input".to_owned();
        return Err(Fault::field("missing_field", "messages", message));
    };
    if question.content.trim().is_empty() {
        let field = format!("messages[{}].content", question.index);
        return Err(Fault::field("empty", &field, format!("{field:?} is empty")));
    }
    let input = question.content;
    let (label, rationale) = match answer {
        Some(turn) if turn.counts => turn.into_answer()?,
        _ => (None, None),
    };
    Ok(Exchange { input, label, rationale })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Instructions,
    User,
    Assistant,
}

struct Turn {
    index: usize,
    role: Role,
    content: String,
    reasoning: Option<String>,
    /// Its weight is not 0.
    counts: bool,
}

impl Turn {
    fn read(index: usize, message: Value) -> Result<Self, Fault> {
        let mut message = match message {
            Value::Object(message) => message,
            other => return Err(wrong_type(&format!("messages[{index}]"), "an object", &other)),
        };
        check_names(index, &message)?;
        let role = text(index, &mut message, "role")?.unwrap_or_default();
        let role = match role.as_str() {
            "assistant" => Role::Assistant,
            "user" => Role::User,
            "system" | "developer" => Role::Instructions,
            _ => return Err(unknown_role(index, &role)),
        };
        let reasoning = match text(index, &mut message, "reasoning_content")? {
            Some(reasoning) => Some(reasoning),
            None => text(index, &mut message, "reasoning")?,
        };
        let counts = weight(index, &message)?;
        let content = text(index, &mut message, "content")?.unwrap_or_default();
        Ok(Self { index, role, content, reasoning, counts })
    }

    /// The label, and the rationale from beside it or from `<think>…</think>` before it.
    fn into_answer(self) -> Result<(Option<String>, Option<String>), Fault> {
        let field = format!("messages[{}].content", self.index);
        let content = self.content.trim();
        let (thought, label) = match content.strip_prefix("<think>") {
            None => (None, content),
            Some(rest) => match rest.split_once("</think>") {
                Some((thought, label)) => (Some(thought), label),
                None => {
                    let message = "the content opens <think> and never closes it".to_owned();
                    return Err(Fault::field("unsupported_format", &field, message));
                }
            },
        };
        let [thought, beside] = [thought, self.reasoning.as_deref()].map(|text| text.and_then(present));
        if thought.is_some() && beside.is_some() {
            let message = "the reasoning is there twice: beside the content and in its <think>".to_owned();
            return Err(Fault::field("conflicting_fields", &field, message));
        }
        Ok((present(label), thought.or(beside)))
    }
}

fn present(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn check_names(index: usize, message: &Map<String, Value>) -> Result<(), Fault> {
    for (name, value) in message {
        let field = format!("messages[{index}].{}", name.chars().take(40).collect::<String>());
        if TOOLS.contains(&name.as_str()) && !value.is_null() {
            return Err(Fault::field("unsupported_format", &field, "an answer is a text, not a call".to_owned()));
        }
        if !FIELDS.contains(&name.as_str()) && !value.is_null() {
            let message = format!("unknown field {field:?}; a message may have {}", FIELDS.join(", "));
            return Err(Fault::field("unknown_field", &field, message));
        }
    }
    Ok(())
}

fn unknown_role(index: usize, role: &str) -> Fault {
    let field = format!("messages[{index}].role");
    match role {
        "" => Fault::field("missing_field", &field, format!("the message lacks {field:?}")),
        "tool" | "function" => {
            Fault::field("unsupported_format", &field, "messages of tools are not supported".to_owned())
        }
        _ => {
            let shown: String = role.chars().take(40).collect();
            Fault::field("wrong_type", &field, format!("unknown role {shown:?}; use system, user or assistant"))
        }
    }
}

fn text(index: usize, message: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Fault> {
    let field = format!("messages[{index}].{name}");
    match message.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => storable(&field, &text).map(|()| Some(text)),
        Some(Value::Array(_)) if name == "content" => {
            let message = "content in parts is not supported; send one text".to_owned();
            Err(Fault::field("unsupported_format", &field, message))
        }
        Some(other) => Err(wrong_type(&field, "a string", &other)),
    }
}

/// Whether the message counts.
fn weight(index: usize, message: &Map<String, Value>) -> Result<bool, Fault> {
    let field = format!("messages[{index}].weight");
    match message.get("weight") {
        None | Some(Value::Null) => Ok(true),
        Some(value) => match value.as_f64() {
            Some(weight) if weight == 0.0 || weight == 1.0 => Ok(weight == 1.0),
            Some(_) => Err(Fault::field("unsupported_format", &field, "a weight is 0 or 1".to_owned())),
            None => Err(wrong_type(&field, "0 or 1", value)),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn exchange(messages: Value) -> Result<Exchange, Fault> {
        read(messages.as_array().unwrap().clone())
    }

    fn parts(messages: Value) -> (String, Option<String>, Option<String>) {
        let Exchange { input, label, rationale } = exchange(messages).unwrap();
        (input, label, rationale)
    }

    #[track_caller]
    fn refused(messages: Value, code: &str, field: &str) {
        let fault = exchange(messages).unwrap_err();
        assert_eq!((fault.code, fault.field.as_deref()), (code, Some(field)), "{}", fault.message);
    }

    #[test]
    fn the_last_answer_is_the_label_and_the_last_question_the_input() {
        let found = parts(json!([
            {"role": "system", "content": "Answer yes or no."},
            {"role": "user", "content": "Is it?"},
            {"role": "assistant", "content": "Which?", "weight": 0},
            {"role": "user", "content": "This."},
            {"role": "assistant", "content": " yes\n", "reasoning_content": "It is."},
        ]));
        assert_eq!(found, ("This.".to_owned(), Some("yes".to_owned()), Some("It is.".to_owned())));
    }

    #[test]
    fn reasoning_may_stand_before_the_answer() {
        let found = parts(json!([
            {"role": "user", "content": "Is it?"},
            {"role": "assistant", "content": "<think>\nIt is.\n</think>\n\nyes"},
        ]));
        assert_eq!(found, ("Is it?".to_owned(), Some("yes".to_owned()), Some("It is.".to_owned())));
    }

    #[test]
    fn a_question_alone_or_an_answer_without_weight_has_no_label() {
        assert_eq!(parts(json!([{"role": "user", "content": "Is it?"}])), ("Is it?".to_owned(), None, None));
        let weightless = json!([
            {"role": "user", "content": "Is it?"},
            {"role": "assistant", "content": "yes", "reasoning_content": "It is.", "weight": 0},
        ]);
        assert_eq!(parts(weightless), ("Is it?".to_owned(), None, None));
    }

    #[test]
    fn messages_that_cannot_be_read_are_refused_by_their_place() {
        let user = json!({"role": "user", "content": "a"});
        refused(json!([]), "empty", "messages");
        refused(json!([{"role": "assistant", "content": "a"}]), "missing_field", "messages");
        refused(json!([{"role": "system", "content": "a"}]), "missing_field", "messages");
        refused(json!([{"role": "user", "content": " "}]), "empty", "messages[0].content");
        refused(json!(["a"]), "wrong_type", "messages[0]");
        refused(json!([{"content": "a"}]), "missing_field", "messages[0].role");
        refused(json!([{"role": "robot", "content": "a"}]), "wrong_type", "messages[0].role");
        refused(json!([{"role": "tool", "content": "a"}]), "unsupported_format", "messages[0].role");
        refused(json!([{"role": "user", "content": [{"type": "text"}]}]), "unsupported_format", "messages[0].content");
        refused(json!([{"role": "user", "content": 1}]), "wrong_type", "messages[0].content");
        refused(json!([{"role": "user", "content": "a\u{0}"}]), "invalid_character", "messages[0].content");
        refused(json!([{"role": "user", "contents": "a"}]), "unknown_field", "messages[0].contents");
        let calls = json!({"role": "assistant", "tool_calls": [{}]});
        refused(json!([user, calls]), "unsupported_format", "messages[1].tool_calls");
        let half = json!({"role": "assistant", "content": "a", "weight": 0.5});
        refused(json!([user, half]), "unsupported_format", "messages[1].weight");
        let open = json!({"role": "assistant", "content": "<think>a"});
        refused(json!([user, open]), "unsupported_format", "messages[1].content");
        let twice = json!({"role": "assistant", "content": "<think>a</think>b", "reasoning": "c"});
        refused(json!([user, twice]), "conflicting_fields", "messages[1].content");
    }
}
