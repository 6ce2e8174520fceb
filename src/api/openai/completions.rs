//! `POST /v1/completions`: a raw prompt goes to the encoder as it is, without the model's prefix.

mod request;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use self::request::{CompletionBody, Prompted};
use super::{
    input_refused,
    usage::{FinishReason, TokenUsage},
};
use crate::{
    api::{AppState, asked_model::AskedModel, error::ApiError, extract::Json, openapi::Ask},
    inference::{Completion, CompletionRequest, InferenceError},
};

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
    /// One a prompt, in the request's order.
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

/// The answer to one prompt.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletionChoice {
    /// The prompt's place in the request, from 0.
    #[schema(example = 0)]
    index: usize,
    /// What the student wrote, after the prompt where `echo` is true.
    #[schema(example = "refund")]
    text: String,
    /// Why it ended.
    finish_reason: FinishReason,
    /// Always null: not supported yet.
    #[schema(required = true, value_type = Option<Object>)]
    logprobs: Option<()>,
}

/// Complete raw prompts, in OpenAI's shape.
///
/// The prompt goes to the encoder as it is: no prefix is added, so ask `predict: …` or `explain: …` as the model was
/// trained, or use `/v1/chat/completions`, which adds the prefix. Answers are greedy, or found by a search with `beams`;
/// `temperature` defaults to 0, unlike OpenAI's. A prompt that is longer than the model reads is refused with `context_length_exceeded`, and a parameter that
/// asks for something that is not supported with `unsupported_parameter`.
#[utoipa::path(post, path = "/v1/completions", tag = "openai", request_body = CompletionBody,
    responses((status = 200, description = "An answer for each prompt", body = CompletionObject), Ask))]
pub async fn create_completion(
    State(state): State<AppState>,
    Json(body): Json<CompletionBody>,
) -> Result<axum::Json<CompletionObject>, ApiError> {
    let (model, prompted) = body.check()?;
    let model = AskedModel::find(&state, &model).await?;
    let pointers: Vec<String> = prompted.iter().map(|prompted| prompted.pointer.clone()).collect();
    let requests: Vec<CompletionRequest> = prompted.into_iter().map(|Prompted { request, .. }| request).collect();
    let answers = state.engine.complete(&model.files, requests).await.map_err(|error| model.refused(error))?;
    let failed = answers.iter().filter(|answer| answer.is_err()).count() as u64;
    state.metrics.predicted(answers.len() as u64 - failed, failed);
    let completions = all(answers, &pointers)?;
    let usage = TokenUsage::new(
        completions.iter().map(|completion| completion.prompt_tokens).sum(),
        completions.iter().map(|completion| completion.completion_tokens).sum(),
    );
    Ok(axum::Json(CompletionObject {
        id: format!("cmpl-{}", state.clock.new_id().simple()),
        object: CompletionKind::TextCompletion,
        created: state.clock.now().timestamp(),
        system_fingerprint: model.fingerprint(),
        model: model.name,
        choices: completions.into_iter().enumerate().map(choice).collect(),
        usage,
    }))
}

/// Every answer, or the first refusal: OpenAI's shape has no place for one prompt's error.
fn all(answers: Vec<Result<Completion, InferenceError>>, pointers: &[String]) -> Result<Vec<Completion>, ApiError> {
    let answers = answers.into_iter().zip(pointers);
    answers.map(|(answer, pointer)| answer.map_err(|error| input_refused(pointer, error))).collect()
}

fn choice((index, completion): (usize, Completion)) -> CompletionChoice {
    CompletionChoice { index, text: completion.text, finish_reason: completion.finish.into(), logprobs: None }
}
