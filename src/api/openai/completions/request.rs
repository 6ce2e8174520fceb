//! A completion's request: every parameter of OpenAI's by name, so that none is ignored.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    api::{
        error::ApiError,
        openai::{
            event_stream::{self, StreamOptions},
            forms::{OneOrMoreTexts, PromptForm},
            parameters::{check_max_tokens, check_scores, stops, unsupported},
            sampling::{SamplingForm, answers},
        },
        resolve::Refusals,
    },
    inference::{CompletionRequest, Prompt, Sampling, seed_of_answer},
};

/// Most prompts in one request: more belong into several, so that others get their turn.
const MAX_PROMPTS: usize = 256;
/// OpenAI's.
const MAX_LOGPROBS: u64 = 5;
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
    /// 0, the default, to 2: above 0 each token is drawn, from the student's probabilities to the power of 1/temperature.
    #[schema(example = 0)]
    temperature: Option<f64>,
    /// More than 0, to 1, the default: tokens are drawn from the likeliest ones that are as likely as this together.
    #[schema(example = 1)]
    top_p: Option<f64>,
    /// Tokens are drawn from so many of the likeliest, before `top_p`; 0, the default, or -1: from all. Not OpenAI's.
    #[schema(example = 0)]
    top_k: Option<i64>,
    /// Up to 4 texts before which an answer ends.
    #[schema(example = json!(["."]))]
    stop: Option<OneOrMoreTexts>,
    /// Whether the prompt comes before the answer.
    #[schema(example = false)]
    echo: Option<bool>,
    /// Draws the same answer to the same prompt again, whatever else is asked meanwhile; default: a new one each time.
    #[schema(example = 1)]
    seed: Option<i64>,
    /// Accepted and not used: who asks, in your words.
    #[schema(example = "user-17")]
    #[expect(dead_code, reason = "accepted by name; it changes nothing")]
    user: Option<String>,
    /// Answers to each prompt, 1, the default, to 16; more than 1 only at a temperature above 0. With the prompts they are 256 at most.
    #[schema(example = 1)]
    n: Option<u64>,
    /// What `n` is: answers are not held back.
    #[schema(example = 1)]
    best_of: Option<u64>,
    /// Whether the answer comes in chunks as it is written. An answer of `beams` comes in one.
    #[schema(example = false)]
    stream: Option<bool>,
    /// How it is streamed, where it is.
    #[schema(value_type = Option<StreamOptions>)]
    stream_options: Option<StreamOptions>,
    /// 0 to 5: each token's log-probability, and so many of the likeliest tokens in its place; default: none. The prompt's tokens have
    /// none: the student reads them and does not write them.
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

/// What is asked, answer by answer.
pub struct Asked {
    /// The model's name.
    pub model: String,
    /// JSON pointer to each prompt.
    pub pointers: Vec<String>,
    /// So many requests of each prompt, side by side.
    pub answers: usize,
    /// What the engine is asked.
    pub requests: Vec<CompletionRequest>,
    /// How the answer is streamed, where it is.
    pub stream: Option<StreamOptions>,
    /// How many of the likeliest tokens are wanted in each place, where log-probabilities are.
    pub logprobs: Option<usize>,
}

impl CompletionBody {
    /// What is asked, or everything that is wrong. `fresh` is the seed of a request that names none.
    pub fn check(self, fresh: u64) -> Result<Asked, ApiError> {
        let mut refusals = Refusals::default();
        let stream = event_stream::wanted(&mut refusals, self.stream, self.stream_options);
        let Self { temperature, top_p, top_k, seed, .. } = self;
        let sampling = SamplingForm { temperature, top_p, top_k, seed }.check(&mut refusals, fresh);
        let answers = answers(&mut refusals, self.n, sampling);
        self.check_what_no_student_does(&mut refusals);
        let request = self.request(&mut refusals, sampling);
        let (pointers, prompts): (Vec<_>, Vec<_>) = prompts(&mut refusals, self.prompt).into_iter().unzip();
        let count = prompts.len() * answers;
        refusals.require(prompts.len() > MAX_PROMPTS || count <= MAX_PROMPTS, "#/n", || {
            format!("{} prompts with {answers} answers each are {count}; send {MAX_PROMPTS} at most", prompts.len())
        });
        refusals.finish()?;
        let several = |prompt: Prompt| {
            let request = CompletionRequest { prompt, ..request.clone() };
            (0..answers).map(move |index| answer(&request, index))
        };
        let requests = prompts.into_iter().flat_map(several).collect();
        Ok(Asked { model: self.model, pointers, answers, requests, stream, logprobs: request.logprobs })
    }

    /// What is asked of every prompt.
    fn request(&self, refusals: &mut Refusals, sampling: Option<Sampling>) -> CompletionRequest {
        check_max_tokens(refusals, "max_tokens", self.max_tokens);
        let max_tokens = self.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS) as usize;
        let min_tokens = self.min_tokens.unwrap_or_default() as usize;
        refusals.require(min_tokens <= max_tokens, "#/min_tokens", || {
            format!("min_tokens is {min_tokens}; send 0 to max_tokens, which is {max_tokens}")
        });
        let beams = self.beams.unwrap_or(1);
        refusals.require((1..=MAX_BEAMS).contains(&beams), "#/beams", || {
            format!("beams is {beams}; send 1 to {MAX_BEAMS}")
        });
        unsupported(
            refusals,
            "temperature",
            beams > 1 && sampling.is_some(),
            "send 0 with beams: a search draws nothing",
        );
        let logprobs = self.logprobs;
        refusals.require(logprobs.is_none_or(|count| count <= MAX_LOGPROBS), "#/logprobs", || {
            format!("logprobs is {}; send 0 to {MAX_LOGPROBS}, or null", logprobs.unwrap_or_default())
        });
        unsupported(refusals, "logprobs", beams > 1 && logprobs.is_some(), "send null with beams");
        CompletionRequest {
            max_tokens,
            min_tokens,
            beams: beams as usize,
            stop: stops(refusals, self.stop.clone()),
            echo: self.echo.unwrap_or_default(),
            sampling,
            logprobs: logprobs.and_then(|count| usize::try_from(count).ok()),
            ..CompletionRequest::default()
        }
    }

    fn check_what_no_student_does(&self, refusals: &mut Refusals) {
        let penalties = [self.presence_penalty, self.frequency_penalty];
        check_scores(refusals, penalties, self.logit_bias.as_ref());
        let best_of = self.best_of.is_some_and(|best| best != self.n.unwrap_or(1));
        unsupported(refusals, "best_of", best_of, "send what n is, or leave it out: all answers are given");
        let suffix = self.suffix.as_ref().is_some_and(|suffix| !suffix.is_empty());
        unsupported(refusals, "suffix", suffix, "send null");
    }
}

/// One of several answers, which is drawn by a seed of its own.
fn answer(request: &CompletionRequest, index: usize) -> CompletionRequest {
    let seeded = |sampling: Sampling| Sampling { seed: seed_of_answer(sampling.seed, index), ..sampling };
    CompletionRequest { sampling: request.sampling.map(seeded), ..request.clone() }
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
