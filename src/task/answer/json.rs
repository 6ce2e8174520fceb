//! One JSON object of `rationale` and `label`, wherever it stands in the text: alone, in a fenced block, behind a sentence.

use serde_json::{Deserializer, Map, Value};

use super::Parts;

/// Opening braces at which an object is looked for. An honest text has one or two; without a bound, a text of nothing but
/// braces would be read once for each of them.
const MAX_TRIES: usize = 16;

/// The parts of the first object that has a label. Deep nesting is an error of the reader, which counts it.
pub(super) fn read(text: &str) -> Parts {
    let objects = text.match_indices('{').take(MAX_TRIES).filter_map(|(start, _)| object(&text[start..]));
    let answer = objects.into_iter().find(|object| object.contains_key("label"));
    answer.map(parts).unwrap_or_default()
}

fn object(text: &str) -> Option<Map<String, Value>> {
    match Deserializer::from_str(text).into_iter().next() {
        Some(Ok(Value::Object(object))) => Some(object),
        _ => None,
    }
}

fn parts(mut answer: Map<String, Value>) -> Parts {
    let mut text = |name: &str| match answer.remove(name)? {
        Value::String(text) => Some(text.trim().to_owned()),
        // Labels such as 3 and true are written bare as often as not.
        value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    Parts { rationale: text("rationale").unwrap_or_default(), label: text("label"), is_label_whole: true }
}
