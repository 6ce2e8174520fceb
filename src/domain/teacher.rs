//! What asking a teacher costs and how fast it may be asked: what the API knows of a teacher besides its name.

/// A teacher's terms, from the configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TeacherTerms {
    /// The name that requests use.
    pub name: String,
    /// Requests under way at once.
    pub max_concurrency: usize,
    /// Requests a minute; `None`: no limit.
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute, in and out; `None`: no limit.
    pub tokens_per_minute: Option<u32>,
    /// Price of a million prompt tokens.
    pub usd_per_million_input_tokens: f64,
    /// Price of a million answer tokens.
    pub usd_per_million_output_tokens: f64,
}
