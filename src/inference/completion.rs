//! A raw completion: what is asked of a student and what it writes.

/// What the encoder reads, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A text; the end token is added to it.
    Text(String),
    /// Token ids; nothing is added to them.
    Tokens(Vec<i64>),
}

/// One prompt and how far to go on from it.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The text, without special tokens.
    pub text: String,
    /// Tokens read, end token included where one was added.
    pub prompt_tokens: u64,
    /// Tokens written, end token included.
    pub completion_tokens: u64,
    /// Why it ended.
    pub finish: Finish,
}
