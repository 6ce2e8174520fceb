//! Requests to values: parsed at the edge, so that handlers only ever see valid forms. Every refusal names the field.

mod json;
mod nul;
mod path;
mod query;
mod reason;
mod text;

pub use json::{Json, JsonBytes};
pub use path::{Id, Name};
pub use query::{Nothing, Query};
pub use reason::describe;
pub use text::{from_text, list_from_text};

pub use crate::domain::nearest;
