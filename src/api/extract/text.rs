//! Values of a query, which are texts whatever they mean.

use std::{fmt::Display, str::FromStr};

use serde::{Deserialize, Deserializer, de};

/// Reads an optional query parameter by its type's own parser.
pub fn from_text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = String::deserialize(deserializer)?;
    let parsed = text.parse().map_err(|error| de::Error::custom(format!("{text:?} cannot be read: {error}")));
    parsed.map(Some)
}
