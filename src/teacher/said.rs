//! The shapes of replies, of all the servers that say they speak chat completions or plain completions; fields that are not
//! needed are left out.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::domain::Tokens;

/// Tokens of a prompt or an answer, at most; no model reads or writes so many.
const MAX_TOKENS: f64 = 2_000_000.0;
/// The `finish_reason` of a refusal that came in a field of its own.
const REFUSAL: &str = "refusal";

#[derive(Deserialize)]
pub(super) struct Reply {
    /// None where the reply is something else.
    #[serde(default)]
    pub(super) choices: Option<Vec<Choice>>,
    #[serde(default)]
    pub(super) error: Option<Value>,
    #[serde(default)]
    pub(super) usage: Option<Usage>,
}

#[derive(Deserialize)]
pub(super) struct Choice {
    #[serde(default)]
    message: Option<Message>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    refusal: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// Thoughts and references have neither member.
#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

/// What a choice says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) finish_reason: Option<String>,
}

impl Choice {
    /// `None` where the choice has the form of neither way of asking.
    pub(super) fn said(self) -> Option<Said> {
        let Self { message, text, finish_reason } = self;
        let Some(message) = message else { return Some(Said { text: text?, finish_reason }) };
        let (text, refusal) = message.read();
        let refusal = refusal.filter(|refusal| text.trim().is_empty() && !refusal.trim().is_empty());
        Some(match refusal {
            Some(refusal) => Said { text: refusal, finish_reason: Some(REFUSAL.to_owned()) },
            None => Said { text, finish_reason },
        })
    }
}

impl Message {
    fn read(self) -> (String, Option<String>) {
        match self.content {
            None => (String::new(), self.refusal),
            Some(Content::Text(text)) => (text, self.refusal),
            Some(Content::Parts(parts)) => {
                let text = parts.iter().filter_map(|part| part.text.as_deref()).collect();
                let refusal = parts.into_iter().find_map(|part| part.refusal);
                (text, self.refusal.or(refusal))
            }
        }
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Usage {
    #[serde(default, deserialize_with = "number")]
    prompt_tokens: f64,
    #[serde(default, deserialize_with = "number")]
    completion_tokens: f64,
}

impl Usage {
    /// The counts; a guess, made only then, instead of one that is not there or cannot be true.
    pub(super) fn or(&self, guess: impl FnOnce() -> Tokens) -> Tokens {
        let believed = |count: f64| (1.0..=MAX_TOKENS).contains(&count).then_some(count as i64);
        match (believed(self.prompt_tokens), believed(self.completion_tokens)) {
            (Some(input), Some(output)) => Tokens { input, output },
            (input, output) => {
                let guessed = guess();
                Tokens { input: input.unwrap_or(guessed.input), output: output.unwrap_or(guessed.output) }
            }
        }
    }
}

/// A count, of which some servers make a fraction, null, or something else.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_f64().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str) -> (String, Option<String>) {
        let choice: Choice =
            serde_json::from_str(&format!(r#"{{"message":{message},"finish_reason":"stop"}}"#)).unwrap();
        let Said { text, finish_reason } = choice.said().unwrap();
        (text, finish_reason)
    }

    #[test]
    fn texts_come_whole_or_in_parts_and_refusals_beside_them_or_among_them() {
        for (message, text, finish_reason) in [
            (r#"{"content":"a"}"#, "a", "stop"),
            (
                r#"{"content":[{"type":"thinking","thinking":[]},{"type":"text","text":"a"},{"text":"b"}]}"#,
                "ab",
                "stop",
            ),
            (r#"{"content":"a","refusal":""}"#, "a", "stop"),
            (r#"{"content":null}"#, "", "stop"),
            (r#"{"content":null,"refusal":"Non."}"#, "Non.", "refusal"),
            (r#"{"content":"","refusal":"Non."}"#, "Non.", "refusal"),
            (r#"{"content":[{"type":"refusal","refusal":"Non."}]}"#, "Non.", "refusal"),
        ] {
            assert_eq!(said(message), (text.to_owned(), Some(finish_reason.to_owned())), "{message}");
        }
    }

    #[test]
    fn counts_that_are_not_there_or_cannot_be_true_are_guessed() {
        let counted = |usage: &str| {
            let tokens = serde_json::from_str::<Usage>(usage).unwrap().or(|| Tokens { input: 50, output: 20 });
            (tokens.input, tokens.output)
        };
        for (usage, tokens) in [
            (r#"{"prompt_tokens":7,"completion_tokens":3}"#, (7, 3)),
            (r#"{"prompt_tokens":7.0,"completion_tokens":null}"#, (7, 20)),
            (r#"{"prompt_tokens":2000000}"#, (2_000_000, 20)),
            ("{}", (50, 20)),
            (r#"{"prompt_tokens":9223372036854775807,"completion_tokens":1}"#, (50, 1)),
            (r#"{"prompt_tokens":1,"completion_tokens":1e300}"#, (1, 20)),
            (r#"{"prompt_tokens":-1,"completion_tokens":"many"}"#, (50, 20)),
        ] {
            assert_eq!(counted(usage), tokens, "{usage}");
        }
    }
}
