//! Text that Postgres can hold. Its text and JSON have no NUL character, while a teacher's answer or a line of a file may
//! have one; refusing it would fail a whole job for the sake of one character that nobody can see. It is replaced by
//! U+FFFD, the sign for what could not be kept.

use serde::Serialize;
use serde_json::Value;

/// The text without NUL.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

/// The text, if there is one, without NUL.
pub(super) fn optional(value: &Option<String>) -> Option<String> {
    value.as_deref().map(text)
}

/// A value as JSON without NUL in its texts and keys.
pub(super) fn json<T: Serialize>(value: &T) -> Value {
    clean(serde_json::to_value(value).expect("domain values have text keys and no failing serializers"))
}

fn clean(value: Value) -> Value {
    match value {
        Value::String(string) => Value::String(text(&string)),
        Value::Array(items) => items.into_iter().map(clean).collect(),
        Value::Object(members) => members.into_iter().map(|(key, value)| (text(&key), clean(value))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_nul_is_replaced_wherever_it_is() {
        assert_eq!(json(&json!({"a\0": ["b\0", 1, null]})), json!({"a\u{FFFD}": ["b\u{FFFD}", 1, null]}));
        assert_eq!(text("plain"), "plain");
    }
}
