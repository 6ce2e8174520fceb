//! What is asked in one call, what came back, and how many tokens either has where nobody has counted them.

use std::time::Duration;

use crate::domain::Tokens;
use crate::task::prompt::{AnswerSchema, Message};

/// Tokens that a chat's frame adds to each message.
const FRAME_TOKENS: usize = 8;
/// Tokens of a schema without its labels, and of what stands around each label.
const SCHEMA_TOKENS: usize = 128;
const LABEL_FRAME_TOKENS: usize = 4;

/// What is asked in one call.
#[derive(Debug, Clone)]
pub struct CompletionRequest {
    /// The prompt.
    pub messages: Vec<Message>,
    /// Sampling temperature; 0 takes the likeliest token.
    pub temperature: f64,
    /// Tokens that the answer may have.
    pub max_output_tokens: u32,
    /// Texts at which the teacher stops; at most four.
    pub stop: Vec<String>,
    /// The sampling seed: which of several samples this is. Without it, and at temperature 0, they are all alike.
    pub seed: Option<u64>,
    /// What the answer must be; sent where the teacher's `json_schema` says that it can be held to one.
    pub answer_schema: Option<AnswerSchema>,
    /// Sent as `Idempotency-Key`: the same for every try of the same question.
    pub idempotency_key: Option<String>,
}

impl CompletionRequest {
    /// The most tokens that the call is thought to take; reserved before it is sent.
    pub fn worst_case(&self) -> Tokens {
        let messages: usize = self.messages.iter().map(|message| tokens(&message.content) + FRAME_TOKENS).sum();
        let schema = self.answer_schema.as_ref().map_or(0, schema_tokens);
        Tokens { input: count(messages + schema), output: i64::from(self.max_output_tokens) }
    }

    /// What a call took that was answered with this text, by the same rule, for a teacher that does not count.
    pub fn guessed(&self, text: &str) -> Tokens {
        Tokens { output: count(tokens(text)), ..self.worst_case() }
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The teacher's text; its refusal where it sent one instead.
    pub text: String,
    /// `stop`, `length` (cut off at the token limit), `content_filter`, …; `refusal` where the teacher sent its refusal in a
    /// field of its own.
    pub finish_reason: Option<String>,
    /// Tokens of the prompt, by the teacher's count; [guessed](CompletionRequest::guessed) where it counts none, or counts
    /// more than two million: no model reads so many, and such a number would block budget and pace for good.
    pub input_tokens: i64,
    /// Tokens of the answer, counted or guessed as those of the prompt.
    pub output_tokens: i64,
    /// From sending the request to the last byte.
    pub latency: Duration,
}

impl Completion {
    /// Tokens of prompt and answer.
    pub fn tokens(&self) -> Tokens {
        Tokens { input: self.input_tokens, output: self.output_tokens }
    }
}

/// The most tokens that a text can have: one for two bytes of English words, and one for each other byte. Digits and signs
/// are tokens by themselves, and tokenizers cut characters that they do not know into their bytes.
fn tokens(text: &str) -> usize {
    let halves = |byte: u8| if byte.is_ascii_alphabetic() || byte == b' ' { 1 } else { 2 };
    text.bytes().map(halves).sum::<usize>().div_ceil(2)
}

fn schema_tokens(schema: &AnswerSchema) -> usize {
    let labels = schema.labels.iter().flatten();
    SCHEMA_TOKENS + labels.map(|label| tokens(label) + LABEL_FRAME_TOKENS).sum::<usize>()
}

fn count(tokens: usize) -> i64 {
    tokens.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(texts: &[&str], labels: Option<&[&str]>) -> CompletionRequest {
        let message = |text: &&str| Message { role: "user".to_owned(), content: (*text).to_owned() };
        CompletionRequest {
            messages: texts.iter().map(message).collect(),
            temperature: 0.0,
            max_output_tokens: 64,
            stop: Vec::new(),
            seed: None,
            answer_schema: labels
                .map(|labels| AnswerSchema { labels: Some(labels.iter().map(|label| (*label).to_owned()).collect()) }),
            idempotency_key: None,
        }
    }

    #[test]
    fn the_worst_case_is_no_less_than_any_tokenizers_count() {
        let input = |text: &str| asked(&[text], None).worst_case().input - 8;
        assert_eq!(input("It broke"), 4);
        assert_eq!(input("1234"), 4, "some have a token for each digit");
        assert_eq!(input("因"), 3, "some have a token for each byte");
        assert_eq!(input(""), 0);
    }

    #[test]
    fn every_message_the_schema_and_the_answer_are_part_of_the_worst_case() {
        let worst = asked(&["ab", "cdef"], None).worst_case();
        assert_eq!(worst, Tokens { input: (1 + 8) + (2 + 8), output: 64 });
        let held = asked(&["ab", "cdef"], Some(&["refund", "no"])).worst_case();
        assert_eq!(held.input - worst.input, 128 + (3 + 4) + (1 + 4));
    }

    #[test]
    fn an_answer_that_nobody_counted_is_guessed_by_its_text() {
        let request = asked(&["ab"], None);
        assert_eq!(request.guessed("It broke."), Tokens { input: 9, output: 5 });
        assert_eq!(request.guessed(""), Tokens { input: 9, output: 0 });
    }
}
