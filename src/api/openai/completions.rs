//! `POST /v1/completions`: a raw prompt goes to the encoder as it is, without the model's prefix.

mod request;
mod stream;

use axum::{Extension, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use self::request::{Asked, CompletionBody};
use self::stream::CompletionChunk;
use super::{
    event_stream,
    heading::Heading,
    input_refused,
    logprobs::CompletionLogprobs,
    usage::{FinishReason, TokenUsage},
};
use crate::{
    api::{
        ProjectState,
        asked_model::AskedModel,
        deadline::{Deadline, DeadlineHeader},
        error::ApiError,
        extract::Json,
        held,
        openapi::Ask,
    },
    inference::{Completion, InferenceError},
};

/// What a completion's id begins with.
const ID_PREFIX: &str = "cmpl";

/// Completions in OpenAI's shape.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Completion)]
#[serde(deny_unknown_fields)]
pub struct CompletionObject {
    /// Names this answer.
    #[schema(example = "cmpl-0199f3c2a5b87e4d9c1f2a3b4c5d6e7f")]
    id: String,
    /// Always `text_completion`.
    object: CompletionKind,
    /// When it was made, in Unix seconds.
    #[schema(example = 1_763_700_000)]
    created: i64,
    /// The model that answered, by its name.
    #[schema(example = "desk")]
    model: String,
    /// Changes whenever the model's files do.
    #[schema(example = "fp_0a1b2c3d4e")]
    system_fingerprint: String,
    /// The answers to each prompt, `n` side by side, in the request's order.
    choices: Vec<CompletionChoice>,
    /// Tokens of all prompts and answers.
    usage: TokenUsage,
}

/// The one value of a completion's `object`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CompletionKind {
    /// It is a text completion.
    TextCompletion,
}

/// An answer to one prompt.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletionChoice {
    /// The answer's place: the prompt's place in the request times `n`, and its own among that prompt's, from 0.
    #[schema(example = 0)]
    index: usize,
    /// What the student wrote, after the prompt where `echo` is true.
    #[schema(example = "refund")]
    text: String,
    /// Why it ended.
    finish_reason: FinishReason,
    /// Its tokens and how likely they were, where they are asked for.
    #[schema(required = true)]
    logprobs: Option<CompletionLogprobs>,
}

/// Complete raw prompts, in OpenAI's shape.
///
/// The prompt goes to the encoder as it is: no prefix is added, so ask `predict: …` or `explain: …` as the model was trained, or use
/// `/v1/chat/completions`, which adds the prefix. Answers are greedy, drawn at a `temperature` above 0, or found by a search with
/// `beams`; `temperature` defaults to 0, unlike OpenAI's. With `stream` the answer comes in chunks of whole characters as it is written:
/// server-sent events of data alone, the last one `[DONE]`. What goes wrong after the first chunk is a chunk with the member `error`, and
/// the last. A prompt that is longer than the model reads is refused with `context_length_exceeded`, and a parameter that asks for
/// something that is not supported with `unsupported_parameter`.
#[utoipa::path(post, path = "/v1/completions", tag = "openai", request_body = CompletionBody,
    params(DeadlineHeader),
    responses((status = 200, description = "An answer for each prompt, or its chunks",
        content((CompletionObject = "application/json"), (CompletionChunk = "text/event-stream"))), Ask))]
pub async fn create_completion(
    state: ProjectState,
    deadline: Option<Extension<Deadline>>,
    Json(body): Json<CompletionBody>,
) -> Result<Response, ApiError> {
    let mut asked = body.check(state.clock.new_id().as_u64_pair().1)?;
    let model = AskedModel::find(&state, &asked.model).await?;
    let requests = std::mem::take(&mut asked.requests);
    if asked.stream.is_some() {
        let following = state.engine.follow_completions(&model.files, requests).await;
        let following = following.map_err(|error| model.refused(error))?;
        let chunks = stream::chunks(state, model, asked, following).await?;
        return Ok(event_stream::respond(chunks, deadline.map(|Extension(deadline)| deadline)));
    }
    let answered = state.engine.complete_held(&model.files, requests).await;
    let (answers, places) = answered.map_err(|error| model.refused(error))?;
    let completions = all(answers, &model, &asked)?;
    let usage = usage(&completions, &asked);
    let choice = |(index, completion): (usize, Completion)| CompletionChoice {
        index,
        text: completion.text,
        finish_reason: completion.finish.into(),
        logprobs: asked.logprobs.map(|count| CompletionLogprobs::new(completion.tokens, count)),
    };
    let heading = Heading::new(&state, ID_PREFIX, &model);
    let completion = CompletionObject {
        choices: completions.into_iter().enumerate().map(choice).collect(),
        id: heading.id,
        object: CompletionKind::TextCompletion,
        created: heading.created,
        model: heading.model,
        system_fingerprint: heading.system_fingerprint,
        usage,
    };
    Ok(held::until_sent(places, axum::Json(completion)))
}

/// Every answer, or the first refusal: OpenAI's shape has no place for one prompt's error.
fn all(
    answers: Vec<Result<Completion, InferenceError>>,
    model: &AskedModel,
    asked: &Asked,
) -> Result<Vec<Completion>, ApiError> {
    let answers = answers.into_iter().enumerate();
    answers.map(|(index, answer)| answer.map_err(|error| refused(model, asked, index, error))).collect()
}

/// Why one answer cannot be given, in its prompt's name.
fn refused(model: &AskedModel, asked: &Asked, index: usize, error: InferenceError) -> ApiError {
    let pointer = asked.pointers.get(index / asked.answers).map_or("#/prompt", String::as_str);
    input_refused(model, pointer, error)
}

/// A prompt is read once, however many answers it gets.
fn usage(completions: &[Completion], asked: &Asked) -> TokenUsage {
    TokenUsage::new(
        completions.iter().step_by(asked.answers).map(|completion| completion.prompt_tokens).sum(),
        completions.iter().map(|completion| completion.completion_tokens).sum(),
    )
}
