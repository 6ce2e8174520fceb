//! A raw completion: what is asked of a student and what it writes.

use super::spelling::ScoredToken;
use crate::student::drawing::Sampling;

/// What the encoder reads, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A text; the end token is added to it.
    Text(String),
    /// Token ids; nothing is added to them.
    Tokens(Vec<i64>),
}

/// One prompt and how far to go on from it.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionRequest {
    /// What is read.
    pub prompt: Prompt,
    /// Tokens that may be written, end token included; at least 1.
    pub max_tokens: usize,
    /// Tokens before which the answer does not end of itself, at most `max_tokens`.
    pub min_tokens: usize,
    /// Beginnings that are gone on from side by side; 1: the likeliest next token alone.
    pub beams: usize,
    /// Texts before which the answer ends.
    pub stop: Vec<String>,
    /// Whether the prompt's text comes before the answer.
    pub echo: bool,
    /// How the answer is drawn; none: the likeliest next token each time. A search draws nothing.
    pub sampling: Option<Sampling>,
    /// How many of the likeliest tokens are wanted beside each token's own log-probability; none: not even that. A search tells
    /// nothing of it.
    pub logprobs: Option<usize>,
    /// The answer, where it is known and only its tokens' log-probabilities are wanted.
    pub dictated: Option<String>,
}

impl Default for CompletionRequest {
    /// An empty prompt and one token.
    fn default() -> Self {
        Self {
            prompt: Prompt::Text(String::new()),
            max_tokens: 1,
            min_tokens: 0,
            beams: 1,
            stop: Vec::new(),
            echo: false,
            sampling: None,
            logprobs: None,
            dictated: None,
        }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The student said so, or a text to stop at came.
    Stop,
    /// It had said as much as it may.
    Length,
}

/// What the student wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The text, without special tokens.
    pub text: String,
    /// Tokens read, end token included where one was added.
    pub prompt_tokens: u64,
    /// Tokens written, end token included.
    pub completion_tokens: u64,
    /// Why it ended.
    pub finish: Finish,
    /// Its tokens, the end token among them, where they are wanted; none of what a text to stop at has cut off.
    pub tokens: Vec<ScoredToken>,
}
