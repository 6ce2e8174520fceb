//! OpenAI's shapes over the same students, so that its unmodified SDKs work. What a student cannot do is refused by the
//! parameter's name, never ignored.

pub mod chat_completions;
pub mod completions;
pub mod fine_tuning;
mod forms;
mod parameters;
mod usage;

use super::error::ApiError;
use crate::inference::InferenceError;

/// Why one input has no answer: the client's fault where the input itself is at fault.
fn input_refused(pointer: &str, error: InferenceError) -> ApiError {
    match error {
        InferenceError::TooLong { .. } => {
            ApiError::field(pointer, "context_length_exceeded", format!("{error}; shorten the input"))
        }
        InferenceError::UnknownToken { .. } => ApiError::field(pointer, "invalid_value", error.to_string()),
        other => other.into(),
    }
}
