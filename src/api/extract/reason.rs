//! A deserializer's message to a field error: the pointer, a stable code, and the nearest known name.

use serde_path_to_error::{Path, Segment};

use crate::{
    api::{error::FieldError, field_error::member},
    domain::nearest,
};

/// Turns serde's message about a place in a request into an error that names the field.
pub fn describe(path: &Path, message: &str) -> FieldError {
    // serde_json ends its messages with the place, which a client cannot use as well as the pointer.
    let message = message.rsplit_once(" at line ").map_or(message, |(reason, _)| reason);
    let mut segments: Vec<String> = path.iter().filter_map(segment).collect();
    let quoted = message.split('`').nth(1).unwrap_or_default();
    let (code, detail) = if message.starts_with("unknown field") {
        push_new(&mut segments, quoted);
        ("unknown_parameter", format!("unknown field {quoted:?}{}", nearest(quoted, known(message))))
    } else if message.starts_with("missing field") {
        push_new(&mut segments, quoted);
        ("missing_field", format!("the field {quoted:?} is missing"))
    } else if message.starts_with("unknown variant") {
        ("invalid_value", format!("{quoted:?} is not known{}", nearest(quoted, known(message))))
    } else if message.starts_with("invalid type") {
        ("wrong_type", message.to_owned())
    } else {
        ("invalid_value", message.to_owned())
    };
    let pointer = pointer(&segments);
    let detail = if detail.starts_with("unknown field") { detail } else { format!("{}: {detail}", place(&segments)) };
    FieldError { pointer, code, detail, line: None }
}

/// The names that serde lists after "expected".
fn known(message: &str) -> Vec<&str> {
    let listed = message.split_once("expected").map_or("", |(_, listed)| listed);
    listed.split('`').skip(1).step_by(2).collect()
}

fn segment(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { variant } => Some(variant.clone()),
        Segment::Unknown => None,
    }
}

/// Serde's path ends at the field in some errors and at its parent in others.
fn push_new(segments: &mut Vec<String>, name: &str) {
    if segments.last().is_none_or(|last| last != name) {
        segments.push(name.to_owned());
    }
}

fn pointer(segments: &[String]) -> String {
    segments.iter().fold("#".to_owned(), |pointer, segment| member(&pointer, segment))
}

fn place(segments: &[String]) -> String {
    if segments.is_empty() { "the body".to_owned() } else { segments.join(".") }
}
