//! What can be wrong with a line, in words that name what would be right.

use serde_json::Value;

/// What is wrong with a line, before its number and text are known.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) field: Option<String>,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn line(code: &'static str, message: &str) -> Self {
        Self { code, field: None, message: message.to_owned() }
    }

    pub(super) fn field(code: &'static str, field: &str, message: String) -> Self {
        Self { code, field: Some(field.to_owned()), message }
    }
}

/// Fields of chat lines whose answer is a call.
const TOOLS: [&str; 4] = ["tools", "functions", "parallel_tool_calls", "function_call"];
/// The first fields of a line are worth naming; the others are an annotation's own.
const READ: usize = 14;

/// Refuses a text that Postgres cannot store and no tokenizer has a piece for.
pub(super) fn storable(field: &str, text: &str) -> Result<(), Fault> {
    let fault = || Fault::field("invalid_character", field, format!("{field:?} holds the character U+0000"));
    if text.contains('\0') { Err(fault()) } else { Ok(()) }
}

/// A value of another type than its field holds.
pub(super) fn wrong_type(field: &str, wanted: &str, found: &Value) -> Fault {
    Fault::field("wrong_type", field, format!("{field:?} must be {wanted}, not {}", kind(found)))
}

/// A text that is no JSON object.
pub(super) fn not_members(text: &str, error: &serde_json::Error) -> Fault {
    match serde_json::from_str::<Value>(text) {
        Ok(other) => Fault::line("not_object", &format!("a line must be a JSON object, not {}", kind(&other))),
        Err(_) if text == "{" => {
            Fault::line("invalid_json", "the object does not end on its line: JSONL wants each object on one line")
        }
        Err(_) => {
            let what = error.to_string();
            let what = what.split(" at line ").next().unwrap_or_default();
            Fault::line("invalid_json", &format!("not JSON: {what} at column {}", error.column()))
        }
    }
}

/// A field that no line has, with the nearest that one may have.
pub(super) fn unknown(name: &str, fields: &[&str]) -> Fault {
    if TOOLS.contains(&name) {
        let message = "tools are not supported: a label is a text".to_owned();
        return Fault::field("unsupported_format", name, message);
    }
    let shown: String = name.chars().take(40).collect();
    let near = fields.iter().map(|field| (strsim::damerau_levenshtein(&shown, field), *field)).min();
    let advice = match near {
        Some((distance, field)) if distance <= 1 + field.len() / 4 => format!("did you mean {field:?}?"),
        _ => format!("a line may have {}", fields[..READ].join(", ")),
    };
    Fault::field("unknown_field", &shown, format!("unknown field {shown:?}; {advice}"))
}

/// A value's type in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
