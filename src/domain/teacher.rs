//! What asking a teacher costs and how fast it may be asked: what the API knows of a teacher besides its name.

use serde::Deserialize;

use super::Prices;

/// Which of OpenAI's two ways of asking a teacher speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TeacherApi {
    /// `/chat/completions`: messages, which the server puts into its model's chat template.
    #[default]
    Chat,
    /// `/completions`: one text, which the model goes on with; what base models want, and the paper's teacher was one.
    Completions,
}

/// A teacher's terms, from the configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TeacherTerms {
    /// The name that requests use.
    pub name: String,
    /// How it is asked.
    pub api: TeacherApi,
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

impl TeacherTerms {
    /// What its tokens cost.
    pub fn prices(&self) -> Prices {
        Prices {
            usd_per_million_input_tokens: self.usd_per_million_input_tokens,
            usd_per_million_output_tokens: self.usd_per_million_output_tokens,
        }
    }
}
