//! A completion's request: every parameter of OpenAI's by name, so that none is ignored.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    api::{
        error::ApiError,
        openai::{
            forms::{OneOrMoreTexts, PromptForm},
            parameters::{check_delivery, check_max_tokens, check_sampling, check_scores, stops, unsupported},
        },
        resolve::Refusals,
    },
    inference::{CompletionRequest, Prompt},
};

/// Most prompts in one request: more belong into several, so that others get their turn.
const MAX_PROMPTS: usize = 256;
/// Beams cost what as many answers cost.
const MAX_BEAMS: u32 = 16;
/// OpenAI's default.
const DEFAULT_MAX_TOKENS: u32 = 16;

/// Complete a raw prompt.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CompletionRequest)]
pub struct CompletionBody {
    /// A model's name or id, or the id of a distillation job.
    #[schema(example = "desk")]
    model: String,
    /// What the encoder reads, as it is; the end token is added to a text, nothing to token ids. At most 256 prompts.
    #[schema(example = "predict: The box was torn when it came.")]
    prompt: PromptForm,
    /// Tokens of an answer, end token included, 1 to 2048; default 16.
    #[schema(example = 16)]
    max_tokens: Option<u32>,
    /// Tokens before which an answer does not end of itself, 0, the default, to `max_tokens`. Not OpenAI's.
    #[schema(example = 0)]
    min_tokens: Option<u32>,
    /// 1, the default, to 16: so many beginnings of an answer are gone on from side by side, and the likeliest answer for its
    /// length is given (beam search with a length penalty of 1, as `transformers` does it). Not OpenAI's.
    #[schema(example = 4)]
    beams: Option<u32>,
    /// 0, the default: nothing is drawn.
    #[schema(example = 0)]
    temperature: Option<f64>,
    /// More than 0, at most 1; changes nothing at temperature 0.
    #[schema(example = 1)]
    top_p: Option<f64>,
    /// Up to 4 texts before which an answer ends.
    #[schema(example = json!(["."]))]
    stop: Option<OneOrMoreTexts>,
    /// Whether the prompt comes before the answer.
    #[schema(example = false)]
    echo: Option<bool>,
    /// Accepted; nothing is drawn, so an answer is the same for every seed.
    #[schema(example = 1)]
    #[expect(dead_code, reason = "accepted by name; it changes nothing")]
    seed: Option<i64>,
    /// Accepted and not used: who asks, in your words.
    #[schema(example = "user-17")]
    #[expect(dead_code, reason = "accepted by name; it changes nothing")]
    user: Option<String>,
    /// 1, the default.
    #[schema(example = 1)]
    n: Option<u64>,
    /// 1, the default.
    #[schema(example = 1)]
    best_of: Option<u64>,
    /// False, the default.
    #[schema(example = false)]
    stream: Option<bool>,
    /// Not supported: null.
    #[schema(value_type = Option<Object>, example = json!(null))]
    stream_options: Option<Value>,
    /// Not supported yet: null.
    #[schema(example = json!(null))]
    logprobs: Option<u64>,
    /// Not supported: null.
    #[schema(example = json!(null))]
    suffix: Option<String>,
    /// 0, the default.
    #[schema(example = 0)]
    presence_penalty: Option<f64>,
    /// 0, the default.
    #[schema(example = 0)]
    frequency_penalty: Option<f64>,
    /// Not supported: null or empty.
    #[schema(value_type = Option<Object>, example = json!({}))]
    logit_bias: Option<Map<String, Value>>,
}

/// A prompt with its place in the request.
pub struct Prompted {
    /// JSON pointer to it.
    pub pointer: String,
    /// What the engine is asked.
    pub request: CompletionRequest,
}

impl CompletionBody {
    /// The model's name and its prompts, or everything that is wrong.
    pub fn check(self) -> Result<(String, Vec<Prompted>), ApiError> {
        let mut refusals = Refusals::default();
        check_delivery(&mut refusals, self.stream, self.stream_options.is_some(), self.n);
        check_sampling(&mut refusals, self.temperature, self.top_p);
        let penalties = [self.presence_penalty, self.frequency_penalty];
        check_scores(&mut refusals, penalties, self.logit_bias.as_ref());
        check_max_tokens(&mut refusals, "max_tokens", self.max_tokens);
        unsupported(&mut refusals, "best_of", self.best_of.is_some_and(|best| best != 1), "send 1");
        unsupported(&mut refusals, "logprobs", self.logprobs.is_some(), "send null");
        let suffix = self.suffix.is_some_and(|suffix| !suffix.is_empty());
        unsupported(&mut refusals, "suffix", suffix, "send null");
        let stop = stops(&mut refusals, self.stop);
        let max_tokens = self.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS) as usize;
        let min_tokens = self.min_tokens.unwrap_or_default() as usize;
        refusals.require(min_tokens <= max_tokens, "#/min_tokens", || {
            format!("min_tokens is {min_tokens}; send 0 to max_tokens, which is {max_tokens}")
        });
        let beams = self.beams.unwrap_or(1);
        refusals.require((1..=MAX_BEAMS).contains(&beams), "#/beams", || {
            format!("beams is {beams}; send 1 to {MAX_BEAMS}")
        });
        let echo = self.echo.unwrap_or_default();
        let prompts = prompts(&mut refusals, self.prompt).into_iter().map(|(pointer, prompt)| Prompted {
            pointer,
            request: CompletionRequest {
                prompt,
                max_tokens,
                min_tokens,
                beams: beams as usize,
                stop: stop.clone(),
                echo,
            },
        });
        let prompts = prompts.collect();
        refusals.finish()?;
        Ok((self.model, prompts))
    }
}

/// Each prompt with its pointer.
fn prompts(refusals: &mut Refusals, form: PromptForm) -> Vec<(String, Prompt)> {
    let each = |at: usize| format!("#/prompt/{at}");
    let prompts: Vec<(String, Prompt)> = match form {
        PromptForm::Text(text) => vec![("#/prompt".to_owned(), Prompt::Text(text))],
        PromptForm::Tokens(ids) => vec![("#/prompt".to_owned(), Prompt::Tokens(ids))],
        PromptForm::Texts(texts) => (0..).zip(texts).map(|(at, text)| (each(at), Prompt::Text(text))).collect(),
        PromptForm::TokenLists(lists) => (0..).zip(lists).map(|(at, ids)| (each(at), Prompt::Tokens(ids))).collect(),
    };
    refusals.require((1..=MAX_PROMPTS).contains(&prompts.len()), "#/prompt", || {
        format!("{} prompts; send 1 to {MAX_PROMPTS}", prompts.len())
    });
    for (pointer, prompt) in &prompts {
        let empty = matches!(prompt, Prompt::Tokens(ids) if ids.is_empty());
        refusals.require(!empty, pointer, || "the prompt has no token".to_owned());
    }
    prompts
}
