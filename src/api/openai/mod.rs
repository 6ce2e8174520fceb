//! OpenAI's shapes over the same students, so that its unmodified SDKs work. What a student cannot do is refused by the
//! parameter's name, never ignored.

pub mod chat_completions;
pub mod completions;
mod event_stream;
pub mod fine_tuning;
mod forms;
mod heading;
mod logprobs;
mod parameters;
mod sampling;
mod usage;

use super::{asked_model::AskedModel, error::ApiError};
use crate::inference::InferenceError;

/// Why one input has no answer: the client's fault where the input itself is at fault.
fn input_refused(model: &AskedModel, pointer: &str, error: InferenceError) -> ApiError {
    match error {
        InferenceError::TooLong { .. } => {
            ApiError::field(pointer, "context_length_exceeded", format!("{error}; shorten the input"))
        }
        InferenceError::UnknownToken { .. } => ApiError::field(pointer, "invalid_value", error.to_string()),
        other => model.refused(other),
    }
}
