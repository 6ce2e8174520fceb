//! Which jobs a list has, by the labels that their users gave them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::ApiError;

/// Labels that listed jobs have.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum MetadataFilter {
    /// All of these; jobs may have others besides.
    Pairs(BTreeMap<String, String>),
    /// The word `null`: none at all.
    Word(String),
}

impl MetadataFilter {
    /// The labels; none where jobs without any are meant. The only word is `null`.
    pub fn labels(self) -> Result<Map<String, Value>, ApiError> {
        match self {
            Self::Pairs(pairs) => Ok(pairs.into_iter().map(|(key, value)| (key, Value::String(value))).collect()),
            Self::Word(word) if word == "null" => Ok(Map::new()),
            Self::Word(word) => {
                let detail =
                    format!("metadata is {word:?}; write metadata[key]=value, or metadata=null for jobs without");
                Err(ApiError::field("#/metadata", "invalid_value", detail))
            }
        }
    }
}
