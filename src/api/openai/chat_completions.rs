//! `POST /v1/chat/completions`: the last user message is the input, the label is the answer.

mod messages;
mod request;

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use self::request::{ChatBody, Included};
use super::{
    input_refused,
    usage::{FinishReason, TokenUsage},
};
use crate::{
    api::{
        AppState,
        asked_model::{AskedModel, label_refused},
        error::ApiError,
        extract::Json,
        openapi::Ask,
    },
    domain::Method,
    inference::{InferenceError, Prediction, PredictionRequest},
    task::labels::listed_choices,
};

/// A chat completion in OpenAI's shape.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatCompletion {
    /// Names this answer.
    #[schema(example = "chatcmpl-0199f3c2a5b87e4d9c1f2a3b4c5d6e7f")]
    id: String,
    /// Always `chat.completion`.
    object: ChatKind,
    /// When it was made, in Unix seconds.
    #[schema(example = 1_763_700_000)]
    created: i64,
    /// The model that answered, by its name.
    #[schema(example = "desk")]
    model: String,
    /// Changes whenever the model's files do.
    #[schema(example = "fp_0a1b2c3d4e")]
    system_fingerprint: String,
    /// One answer.
    choices: Vec<ChatChoice>,
    /// Tokens of the input, with the model's prefix, and of the label and the rationale.
    usage: TokenUsage,
}

/// The one value of a chat completion's `object`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub enum ChatKind {
    /// It is a chat completion.
    #[serde(rename = "chat.completion")]
    ChatCompletion,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatChoice {
    /// Always 0.
    #[schema(example = 0)]
    index: usize,
    /// What the student says.
    message: ChatAnswer,
    /// `length` where a label or a rationale in the student's own words was cut.
    finish_reason: FinishReason,
    /// Always null: not supported yet.
    #[schema(required = true, value_type = Option<Object>)]
    logprobs: Option<()>,
    /// What OpenAI's shape has no place for.
    stepwise: ChatExtension,
}

/// What the student says.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatAnswer {
    /// Always `assistant`.
    role: AssistantRole,
    /// The label, as predictions return it; empty where the student abstains (`stepwise.abstained`).
    #[schema(example = "refund")]
    content: String,
    /// Always null: a student never declines.
    #[schema(required = true, value_type = Option<String>)]
    refusal: Option<()>,
    /// The rationale, where it was asked for with `include`; not there otherwise. It is a second task of the student and
    /// did not cause the label.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Rule 2 decides: the box was torn.")]
    reasoning_content: Option<String>,
}

/// The one value of an answer's `role`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssistantRole {
    /// The model.
    Assistant,
}

/// What OpenAI's shape has no place for. Every key is always there; null where it was not asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatExtension {
    /// The label; null where the student abstains.
    #[schema(required = true, example = "refund")]
    label: Option<String>,
    /// How sure the student is, 0 to 1.
    #[schema(required = true, example = 0.93)]
    confidence: Option<f64>,
    /// Each label's probability, where there is a label set.
    #[schema(required = true, example = json!({"refund": 0.93, "reject": 0.07}))]
    label_probs: Option<BTreeMap<String, f64>>,
    /// Whether confidence and probabilities were fitted to how often the student is right; see `/v1/predictions`.
    #[schema(example = true)]
    calibrated: bool,
    /// Whether the same label is scored best for the input with the rationale below it; see `/v1/predictions`.
    #[schema(required = true, example = json!(null))]
    consistency: Option<bool>,
    /// Whether the confidence was below `abstain_below`.
    #[schema(example = false)]
    abstained: bool,
    /// How the student came to its rationale, where there is one.
    #[schema(required = true)]
    rationale_kind: Option<RationaleKind>,
}

/// How a student comes to a rationale.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RationaleKind {
    /// As a second task, apart from the label.
    Multitask,
    /// In one text with the label, before it.
    SingleTarget,
}

/// Ask a student for a label, in OpenAI's shape.
///
/// The input is the last message of role `user`; the server adds the model's own prefix. Other messages are accepted and not
/// read: a student answers one input and has no memory of a conversation. The answer's content is the label as
/// `/v1/predictions` gives it. `include`, `label_set` and `abstain_below` are extensions (`extra_body` in OpenAI's SDKs). `temperature`
/// defaults to 0, unlike OpenAI's. A parameter that asks for something that is not supported is refused with
/// `unsupported_parameter`, an input that is longer than the model reads with `context_length_exceeded`.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "openai", request_body = ChatBody,
    responses((status = 200, description = "The answer", body = ChatCompletion), Ask))]
pub async fn create_chat_completion(
    State(state): State<AppState>,
    Json(body): Json<ChatBody>,
) -> Result<axum::Json<ChatCompletion>, ApiError> {
    let asked = body.check()?;
    let model = AskedModel::find(&state, &asked.model).await?;
    let has_own_labels = asked.label_set.is_some();
    let request = PredictionRequest {
        label_set: asked.label_set.map(Arc::from),
        choices: listed_choices(&model.card.task, &asked.input).map(Arc::from),
        input: asked.input,
        rationale: asked.included.rationale,
        consistency: asked.included.consistency,
        generated_label: false,
        max_tokens: asked.max_tokens,
        whole_input: true,
    };
    let answers = state.engine.predict(&model.files, vec![request]).await.map_err(|error| model.refused(error))?;
    let answer = answers.into_iter().next().unwrap_or(Err(InferenceError::Stopped));
    state.metrics.predicted(u64::from(answer.is_ok()), u64::from(answer.is_err()));
    let place = |index| if has_own_labels { format!("#/label_set/{index}") } else { asked.pointer.clone() };
    let answer = answer.map_err(|error| match label_refused(&error, place) {
        Some(refused) => refused,
        None => input_refused(&asked.pointer, error),
    })?;
    let usage = TokenUsage::new(answer.input_tokens, answer.answer_tokens);
    Ok(axum::Json(ChatCompletion {
        id: format!("chatcmpl-{}", state.clock.new_id().simple()),
        object: ChatKind::ChatCompletion,
        created: state.clock.now().timestamp(),
        system_fingerprint: model.fingerprint(),
        model: model.name,
        choices: vec![choice(answer, &asked.included, model.card.method)],
        usage,
    }))
}

fn choice(answer: Prediction, included: &Included, method: Method) -> ChatChoice {
    let rationale = answer.rationale.filter(|_| included.rationale);
    let kind = match method {
        Method::RationaleThenLabel => RationaleKind::SingleTarget,
        Method::StepByStep | Method::Standard => RationaleKind::Multitask,
    };
    let abstained = included.abstain_below.is_some_and(|least| answer.confidence < least);
    let label = (!abstained).then_some(answer.label);
    let stepwise = ChatExtension {
        label: label.clone(),
        confidence: included.confidence.then_some(answer.confidence),
        label_probs: answer.label_probs.filter(|_| included.label_probs),
        calibrated: answer.calibrated,
        consistency: answer.consistency,
        abstained,
        rationale_kind: rationale.as_ref().map(|_| kind),
    };
    let message = ChatAnswer {
        role: AssistantRole::Assistant,
        content: label.unwrap_or_default(),
        refusal: None,
        reasoning_content: rationale,
    };
    let finish_reason = if answer.complete { FinishReason::Stop } else { FinishReason::Length };
    ChatChoice { index: 0, message, finish_reason, logprobs: None, stepwise }
}
