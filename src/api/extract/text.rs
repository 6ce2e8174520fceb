//! Values of a query, which are texts whatever they mean.

use std::{
    any::Any,
    fmt::Display,
    num::{IntErrorKind, ParseIntError},
    str::{FromStr, ParseBoolError},
};

use serde::{Deserialize, Deserializer, de};

/// Reads an optional query parameter by its type's own parser.
pub fn from_text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display + 'static>,
{
    read(&String::deserialize(deserializer)?).map(Some)
}

/// Reads a query parameter that is a list of values between commas.
pub fn list_from_text<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display + 'static>,
{
    String::deserialize(deserializer)?.split(',').map(|text| read(text.trim())).collect()
}

fn read<T: FromStr<Err: Display + 'static>, E: de::Error>(text: &str) -> Result<T, E> {
    text.parse().map_err(|error| E::custom(format!("{text:?} cannot be read: {}", advice(&error))))
}

/// What to send instead. The standard library's errors say only what was wrong.
fn advice<E: Display + 'static>(error: &E) -> String {
    let any: &dyn Any = error;
    match any.downcast_ref::<ParseIntError>().map(ParseIntError::kind) {
        Some(IntErrorKind::PosOverflow) => "the number is too large".to_owned(),
        Some(_) => "send a whole number, not negative".to_owned(),
        None if any.is::<ParseBoolError>() => "send true or false".to_owned(),
        None => error.to_string(),
    }
}
