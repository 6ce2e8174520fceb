//! Lists and their pages: newest first unless a list says otherwise, the last id as the next page's cursor.

use serde::Serialize;
use utoipa::ToSchema;

use super::error::ApiError;

/// Items of a page when the request does not say.
const DEFAULT_LIMIT: u32 = 20;
/// Items of a page at most.
pub const MAX_LIMIT: u32 = 1000;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct List<T> {
    /// Always `list`.
    object: ListObject,
    /// The page's items.
    data: Vec<T>,
    /// Whether more follow; ask for them with `after`.
    has_more: bool,
}

/// The one value of a list's `object`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListObject {
    /// It is a list.
    List,
}

impl<T> List<T> {
    /// A page.
    pub fn new(data: Vec<T>, has_more: bool) -> Self {
        Self { object: ListObject::List, data, has_more }
    }
}

/// The page's size, if it is one that may be asked for.
pub fn page_size(limit: Option<u32>, max: u32) -> Result<u32, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let refusal = || ApiError::field("#/limit", "invalid_value", format!("limit is {limit}; send 1 to {max}"));
    if (1..=max).contains(&limit) { Ok(limit) } else { Err(refusal()) }
}
