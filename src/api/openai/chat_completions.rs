//! `POST /v1/chat/completions`: the last user message is the input, the label is the answer.

mod chat;
mod messages;
mod request;
mod stream;

use std::collections::BTreeMap;

use axum::{Extension, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use self::chat::{Answered, Chat};
use self::request::ChatBody;
use self::stream::ChatCompletionChunk;
use super::{
    event_stream,
    heading::Heading,
    logprobs::ChatLogprobs,
    usage::{FinishReason, TokenUsage},
};
use crate::{
    api::{
        ProjectState,
        deadline::{Deadline, DeadlineHeader},
        error::ApiError,
        extract::Json,
        held,
        openapi::Ask,
    },
    domain::Method,
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
    /// As many answers as were asked for.
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

/// One answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatChoice {
    /// Its place among the answers, from 0.
    #[schema(example = 0)]
    index: usize,
    /// What the student says.
    message: ChatAnswer,
    /// `length` where a label or a rationale in the student's own words was cut.
    finish_reason: FinishReason,
    /// The tokens of the content and how likely they were, where they are asked for.
    #[schema(required = true)]
    logprobs: Option<ChatLogprobs>,
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
/// `/v1/predictions` gives it, unless it is drawn at a `temperature` above 0, which defaults to 0, unlike OpenAI's. `include`,
/// `label_set`, `abstain_below` and `top_k` are extensions (`extra_body` in OpenAI's SDKs).
///
/// With `stream` the answer comes in chunks: server-sent events of data alone, the last one `[DONE]`. A label of a set comes in one
/// piece, the student's own words as they are written (when they are whole, with `abstain_below`), and a rationale as it is written, in
/// `delta.reasoning_content`; of a model that writes its rationale and its label as one text, both come when they are whole. What goes wrong after the first chunk is a chunk with
/// the member `error`, and the last.
///
/// A parameter that asks for something that is not supported is refused with `unsupported_parameter`, an input that is longer than the
/// model reads with `context_length_exceeded`.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "openai", request_body = ChatBody,
    params(DeadlineHeader),
    responses((status = 200, description = "The answer, or its chunks",
        content((ChatCompletion = "application/json"), (ChatCompletionChunk = "text/event-stream"))), Ask))]
pub async fn create_chat_completion(
    state: ProjectState,
    deadline: Option<Extension<Deadline>>,
    Json(body): Json<ChatBody>,
) -> Result<Response, ApiError> {
    let asked = body.check(state.clock.new_id().as_u64_pair().1)?;
    let chat = Chat::new(state, asked).await?;
    if chat.asked.stream.is_some() {
        let chunks = stream::chunks(chat).await?;
        return Ok(event_stream::respond(chunks, deadline.map(|Extension(deadline)| deadline)));
    }
    let Heading { id, created, model, system_fingerprint } = chat.heading();
    let (answers, places) = chat.answers().await?;
    let usage = TokenUsage::new(
        answers.first().map_or(0, |answered| answered.answer.input_tokens),
        answers.iter().map(|answered| answered.answer.answer_tokens).sum(),
    );
    let choices = answers.into_iter().enumerate().map(|(index, answered)| choice(&chat, index, answered)).collect();
    let object = ChatKind::ChatCompletion;
    let completion = ChatCompletion { id, object, created, model, system_fingerprint, choices, usage };
    Ok(held::until_sent(places, axum::Json(completion)))
}

fn choice(chat: &Chat, index: usize, answered: Answered) -> ChatChoice {
    ChatChoice {
        index,
        finish_reason: finish_reason(&answered),
        stepwise: extension(chat, &answered),
        message: ChatAnswer {
            role: AssistantRole::Assistant,
            content: answered.label().unwrap_or_default().to_owned(),
            refusal: None,
            reasoning_content: answered.answer.rationale.filter(|_| chat.asked.included.rationale),
        },
        logprobs: answered.tokens.map(ChatLogprobs::new),
    }
}

fn finish_reason(answered: &Answered) -> FinishReason {
    if answered.answer.complete { FinishReason::Stop } else { FinishReason::Length }
}

fn extension(chat: &Chat, answered: &Answered) -> ChatExtension {
    let (answer, included) = (&answered.answer, chat.asked.included);
    let kind = match chat.model.card.method {
        Method::RationaleThenLabel => RationaleKind::SingleTarget,
        Method::StepByStep | Method::Standard => RationaleKind::Multitask,
    };
    ChatExtension {
        label: answered.label().map(str::to_owned),
        confidence: included.confidence.then_some(answer.confidence),
        label_probs: answer.label_probs.clone().filter(|_| included.label_probs),
        calibrated: answer.calibrated,
        consistency: answer.consistency,
        abstained: answered.abstained,
        rationale_kind: answer.rationale.as_ref().filter(|_| included.rationale).map(|_| kind),
    }
}
