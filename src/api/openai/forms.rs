//! Parameters that may be written in several ways.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// What a completion goes on from.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(untagged, expecting = "send a text, a list of texts, a list of token ids, or a list of such lists")]
pub enum PromptForm {
    /// A text.
    Text(String),
    /// Texts, each of which is completed.
    Texts(Vec<String>),
    /// Token ids.
    Tokens(Vec<i64>),
    /// Lists of token ids, each of which is completed.
    TokenLists(Vec<Vec<i64>>),
}

/// One text, or some.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(untagged, expecting = "send a text or a list of texts")]
pub enum OneOrMoreTexts {
    /// One.
    One(String),
    /// Some.
    More(Vec<String>),
}

impl OneOrMoreTexts {
    /// All of them.
    pub fn into_texts(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::More(texts) => texts,
        }
    }
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(untagged, expecting = "send a text or a list of parts of type text")]
pub enum MessageContent {
    /// A text.
    Text(String),
    /// Parts, whose texts are joined as they are.
    Parts(Vec<ContentPart>),
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct ContentPart {
    /// `text`, the one kind that a student reads.
    #[serde(rename = "type")]
    #[schema(example = "text")]
    pub kind: String,
    /// The text.
    #[schema(example = "The box was torn when it came.")]
    pub text: Option<String>,
    /// Members of other kinds of parts, which are refused by name.
    #[serde(flatten)]
    #[schema(ignore)]
    pub others: Map<String, Value>,
}
