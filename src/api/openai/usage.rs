//! What every answer in OpenAI's shapes ends with.

use serde::Serialize;
use utoipa::ToSchema;

use crate::inference::Finish;

/// Tokens of a request.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenUsage {
    /// Tokens read, end tokens included.
    #[schema(example = 24)]
    prompt_tokens: u64,
    /// Tokens of the answers, end tokens included.
    #[schema(example = 3)]
    completion_tokens: u64,
    /// Both together.
    #[schema(example = 27)]
    total_tokens: u64,
}

impl TokenUsage {
    /// So many read and so many written.
    pub fn new(prompt_tokens: u64, completion_tokens: u64) -> Self {
        Self { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// It came to its end, or to a text to stop at.
    Stop,
    /// It had as many tokens as it may have.
    Length,
}

impl From<Finish> for FinishReason {
    fn from(finish: Finish) -> Self {
        match finish {
            Finish::Stop => Self::Stop,
            Finish::Length => Self::Length,
        }
    }
}

/// What a chunk of a stream says of the tokens.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum ChunkUsage {
    /// Nothing: nobody has asked for it, and the member is not there.
    LeftOut,
    /// Null: the last chunk will tell.
    Later,
    /// All of them.
    Told(TokenUsage),
}

impl ChunkUsage {
    /// Of a chunk that is not the last, where usage is wanted or not.
    pub fn before_the_last(is_wanted: bool) -> Self {
        if is_wanted { Self::Later } else { Self::LeftOut }
    }

    /// Whether the member is not there.
    pub fn is_left_out(&self) -> bool {
        matches!(self, Self::LeftOut)
    }
}
