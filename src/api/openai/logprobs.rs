//! Tokens with their log-probabilities, in the two forms that OpenAI has for them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::inference::{LikelyToken, ScoredToken};

/// In place of a log-probability that no JSON number is.
const IMPOSSIBLE: f64 = -9999.0;

/// A completion's tokens and how likely the student found them, before temperature and cuts. All lists are of one length.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletionLogprobs {
    /// What each token adds to the text. The last one of an answer that ended of itself is `</s>`, which adds nothing.
    #[schema(example = json!(["re", "fund", "</s>"]))]
    tokens: Vec<String>,
    /// Each one's log-probability, given those before it.
    #[schema(example = json!([-0.11, -0.02, -0.01]))]
    token_logprobs: Vec<f64>,
    /// Where each stands: as many of the likeliest tokens as were asked for, and the token itself, with their log-probabilities; null
    /// where none were asked for.
    #[schema(required = true, example = json!([{"re": -0.11, "ex": -2.4}, {"fund": -0.02, "ject": -4.1}, {"</s>": -0.01}]))]
    top_logprobs: Option<Vec<BTreeMap<String, f64>>>,
    /// Where each begins in the text, in characters.
    #[schema(example = json!([0, 2, 6]))]
    text_offset: Vec<usize>,
}

/// A chat's tokens and how likely the student found them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatLogprobs {
    /// The tokens of the content.
    content: Vec<ChatToken>,
    /// Always null: a student never declines.
    #[schema(required = true, value_type = Option<Vec<ChatToken>>, example = json!(null))]
    refusal: Option<()>,
}

/// A token of a chat's content.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatToken {
    /// What it adds to the content. The last one of a whole label is `</s>`, which adds nothing.
    #[schema(example = "re")]
    token: String,
    /// Its log-probability under the student, given those before it: before temperature and cuts, among all tokens and not among
    /// the labels of a set.
    #[schema(example = -0.11)]
    logprob: f64,
    /// What it adds in bytes of UTF-8; null where it adds nothing.
    #[schema(required = true, example = json!([114, 101]))]
    bytes: Option<Vec<u8>>,
    /// The likeliest tokens in its place, best first, as many as were asked for.
    top_logprobs: Vec<ChatLikelyToken>,
}

/// A token that was likely in the place of one of a chat's content.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatLikelyToken {
    /// What it would have added.
    #[schema(example = "ex")]
    token: String,
    /// Its log-probability.
    #[schema(example = -2.4)]
    logprob: f64,
    /// What it would have added in bytes of UTF-8; null for nothing.
    #[schema(required = true, example = json!([101, 120]))]
    bytes: Option<Vec<u8>>,
}

impl CompletionLogprobs {
    /// These tokens, each with so many of the likeliest in its place.
    pub fn new(tokens: Vec<ScoredToken>, count: usize) -> Self {
        Self {
            token_logprobs: tokens.iter().map(|scored| number(&scored.token)).collect(),
            top_logprobs: (count > 0).then(|| tokens.iter().map(top).collect()),
            text_offset: tokens.iter().map(|scored| scored.offset).collect(),
            tokens: tokens.into_iter().map(|scored| scored.token.text).collect(),
        }
    }
}

/// The token itself and the likeliest ones. Of those that are spelled alike the token itself counts, then the likelier.
fn top(scored: &ScoredToken) -> BTreeMap<String, f64> {
    let mut top = BTreeMap::new();
    for token in std::iter::once(&scored.token).chain(&scored.likeliest) {
        top.entry(token.text.clone()).or_insert_with(|| number(token));
    }
    top
}

impl ChatLogprobs {
    /// These tokens.
    pub fn new(tokens: Vec<ScoredToken>) -> Self {
        let content = tokens.into_iter().map(|scored| ChatToken {
            logprob: number(&scored.token),
            bytes: bytes(&scored.token),
            token: scored.token.text,
            top_logprobs: scored.likeliest.into_iter().map(ChatLikelyToken::from).collect(),
        });
        Self { content: content.collect(), refusal: None }
    }
}

impl From<LikelyToken> for ChatLikelyToken {
    fn from(token: LikelyToken) -> Self {
        Self { logprob: number(&token), bytes: bytes(&token), token: token.text }
    }
}

fn number(token: &LikelyToken) -> f64 {
    token.log_probability.max(IMPOSSIBLE)
}

fn bytes(token: &LikelyToken) -> Option<Vec<u8>> {
    token.is_text.then(|| token.text.clone().into_bytes())
}
