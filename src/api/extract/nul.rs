//! The one character that JSON can carry and PostgreSQL's texts cannot.

use serde_json::Value;

use crate::api::{error::ApiError, field_error::member};

/// Refuses a text with a NUL, by its place.
pub fn refuse(pointer: &str, value: &Value) -> Result<(), ApiError> {
    match value {
        Value::String(text) => refuse_in_text(pointer, text),
        Value::Array(items) => {
            items.iter().enumerate().try_for_each(|(index, item)| refuse(&format!("{pointer}/{index}"), item))
        }
        Value::Object(fields) => fields.iter().try_for_each(|(name, field)| {
            refuse_in_text(pointer, name)?;
            refuse(&member(pointer, name), field)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn refuse_in_text(pointer: &str, text: &str) -> Result<(), ApiError> {
    if !text.contains('\0') {
        return Ok(());
    }
    Err(ApiError::field(pointer, "invalid_value", "a text holds the character NUL (\\u0000), which cannot be stored"))
}
