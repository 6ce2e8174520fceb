//! What a call may cost, at worst: reserved before it is sent.

use crate::{domain::Tokens, teacher::CompletionRequest};

/// Bytes that make a token, at least: English has more than four, and a script of three bytes a character has one or two
/// tokens a character.
const BYTES_PER_TOKEN: usize = 2;
/// Tokens that a chat's frame adds to each message.
const FRAME_TOKENS: usize = 8;

/// The most tokens that a request is thought to take.
pub(super) fn worst_case(request: &CompletionRequest) -> Tokens {
    let prompt: usize = request.messages.iter().map(|message| tokens(&message.content) + FRAME_TOKENS).sum();
    Tokens { input: count(prompt), output: i64::from(request.max_output_tokens) }
}

/// What a reply took by the same rule, for a teacher that does not count.
pub(super) fn guessed(request: &CompletionRequest, text: &str) -> Tokens {
    Tokens { output: count(tokens(text)), ..worst_case(request) }
}

fn tokens(text: &str) -> usize {
    text.len().div_ceil(BYTES_PER_TOKEN)
}

fn count(tokens: usize) -> i64 {
    tokens.try_into().unwrap_or(i64::MAX)
}
