//! A chat in chunks, as it is written.

use async_stream::stream;
use futures::Stream;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        heading::Heading,
        logprobs::ChatLogprobs,
        usage::{ChunkUsage, FinishReason, TokenUsage},
    },
    AssistantRole, ChatExtension,
    chat::{Answered, Chat},
    extension, finish_reason,
};
use crate::{
    api::error::ApiError,
    domain::Method,
    inference::{Fragment, News, Part},
};

/// A part of a chat completion that comes in chunks. Several answers come in any order: `index` tells them apart.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatCompletionChunk {
    /// Names the answer; the same in all its chunks.
    #[schema(example = "chatcmpl-0199f3c2a5b87e4d9c1f2a3b4c5d6e7f")]
    id: String,
    /// Always `chat.completion.chunk`.
    object: ChatChunkKind,
    /// When it began, in Unix seconds.
    #[schema(example = 1_763_700_000)]
    created: i64,
    /// The model that answers, by its name.
    #[schema(example = "desk")]
    model: String,
    /// Changes whenever the model's files do.
    #[schema(example = "fp_0a1b2c3d4e")]
    system_fingerprint: String,
    /// What has come of one answer; nothing in the chunk with the `usage`.
    choices: Vec<ChatChunkChoice>,
    /// Tokens of the input and of all answers, in the last chunk with `include_usage`, which has null in the others; not there
    /// without it.
    #[serde(skip_serializing_if = "ChunkUsage::is_left_out")]
    #[schema(value_type = Option<TokenUsage>)]
    usage: ChunkUsage,
}

/// The one value of a chunk's `object`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub enum ChatChunkKind {
    /// It is a chunk of a chat completion.
    #[serde(rename = "chat.completion.chunk")]
    ChatCompletionChunk,
}

/// What has come of one answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatChunkChoice {
    /// The answer's place, from 0.
    #[schema(example = 0)]
    index: usize,
    /// What follows what came before; empty in the answer's last chunk.
    delta: ChatDelta,
    /// Why the answer ended, in its last chunk; null before.
    #[schema(required = true)]
    finish_reason: Option<FinishReason>,
    /// The tokens of the content and how likely they were, where they are asked for.
    #[schema(required = true)]
    logprobs: Option<ChatLogprobs>,
    /// What OpenAI's shape has no place for, in the answer's last chunk; not there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    stepwise: Option<ChatExtension>,
}

/// What follows what came before. Members that say nothing are not there.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatDelta {
    /// `assistant`, in an answer's first chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<AssistantRole>,
    /// More of the label.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "refund")]
    content: Option<String>,
    /// More of the rationale.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = " the box was torn")]
    reasoning_content: Option<String>,
}

/// A chat's chunks. What goes wrong before there is anything to say is no chunk.
pub async fn chunks(chat: Chat) -> Result<impl Stream<Item = Result<ChatCompletionChunk, ApiError>>, ApiError> {
    let mut following = chat.follow().await?;
    let mut next = following.next().await;
    if let Some((_, News::Whole(Err(error)))) = next {
        return Err(chat.refused(error));
    }
    let mut stream = Chunks::new(chat);
    Ok(stream! {
        while let Some((index, news)) = next {
            if let Some(chunk) = stream.begin(index) {
                yield Ok(chunk);
            }
            match news {
                News::Fragment(fragment) => {
                    if let Some(chunk) = stream.fragment(index, fragment) {
                        yield Ok(chunk);
                    }
                }
                News::Whole(answer) => match stream.chat.answered(following.places(), index, answer).await {
                    Ok(answers) => {
                        for (index, answered) in answers {
                            if let Some(chunk) = stream.begin(index) {
                                yield Ok(chunk);
                            }
                            for chunk in stream.end(index, answered) {
                                yield Ok(chunk);
                            }
                        }
                    }
                    Err(error) => {
                        yield Err(error);
                        return;
                    }
                },
            }
            next = following.next().await;
        }
        if stream.includes_usage() {
            yield Ok(stream.usage());
        }
    })
}

/// What is known of the stream.
struct Chunks {
    heading: Heading,
    chat: Chat,
    /// Answers that have begun.
    begun: Vec<bool>,
    prompt_tokens: u64,
    completion_tokens: u64,
}

impl Chunks {
    fn new(chat: Chat) -> Self {
        let begun = vec![false; chat.asked.answers];
        Self { heading: chat.heading(), chat, begun, prompt_tokens: 0, completion_tokens: 0 }
    }

    /// An answer's first chunk; none where it has begun.
    fn begin(&mut self, index: usize) -> Option<ChatCompletionChunk> {
        let delta =
            ChatDelta { role: Some(AssistantRole::Assistant), content: Some(String::new()), ..ChatDelta::default() };
        let has_begun = std::mem::replace(&mut self.begun[index], true);
        (!has_begun).then(|| self.delta(index, delta, None))
    }

    /// More of an answer, unless it is not wanted, or not before it is whole: whether the student abstains is known at its end.
    fn fragment(&self, index: usize, fragment: Fragment) -> Option<ChatCompletionChunk> {
        let (text, included) = (Some(fragment.text), self.chat.asked.included);
        let (delta, logprobs) = match fragment.part {
            Part::Rationale if included.rationale => {
                (ChatDelta { reasoning_content: text, ..ChatDelta::default() }, None)
            }
            Part::Words if included.abstain_below.is_none() => {
                let logprobs = self.chat.asked.logprobs.map(|_| ChatLogprobs::new(fragment.tokens));
                (ChatDelta { content: text, ..ChatDelta::default() }, logprobs)
            }
            _ => return None,
        };
        Some(self.delta(index, delta, logprobs))
    }

    /// What was not said before it was whole, and the end.
    fn end(&mut self, index: usize, answered: Answered) -> Vec<ChatCompletionChunk> {
        self.prompt_tokens = answered.answer.input_tokens;
        self.completion_tokens += answered.answer.answer_tokens;
        let (finish_reason, stepwise) = (finish_reason(&answered), extension(&self.chat, &answered));
        let mut chunks = Vec::new();
        let (included, is_single_target) =
            (self.chat.asked.included, self.chat.model.card.method == Method::RationaleThenLabel);
        let label = answered.label().unwrap_or_default().to_owned();
        let rationale = answered.answer.rationale.filter(|_| is_single_target && included.rationale);
        if rationale.is_some() {
            chunks.push(self.delta(index, ChatDelta { reasoning_content: rationale, ..ChatDelta::default() }, None));
        }
        if is_single_target || answered.answer.label_probs.is_some() || included.abstain_below.is_some() {
            let delta = ChatDelta { content: Some(label), ..ChatDelta::default() };
            chunks.push(self.delta(index, delta, answered.tokens.map(ChatLogprobs::new)));
        }
        chunks.push(self.chunk(vec![ChatChunkChoice {
            index,
            delta: ChatDelta::default(),
            finish_reason: Some(finish_reason),
            logprobs: None,
            stepwise: Some(stepwise),
        }]));
        chunks
    }

    fn delta(&self, index: usize, delta: ChatDelta, logprobs: Option<ChatLogprobs>) -> ChatCompletionChunk {
        self.chunk(vec![ChatChunkChoice { index, delta, finish_reason: None, logprobs, stepwise: None }])
    }

    fn includes_usage(&self) -> bool {
        self.chat.asked.stream.is_some_and(|options| options.includes_usage())
    }

    fn usage(&self) -> ChatCompletionChunk {
        let usage = TokenUsage::new(self.prompt_tokens, self.completion_tokens);
        ChatCompletionChunk { usage: ChunkUsage::Told(usage), ..self.chunk(Vec::new()) }
    }

    fn chunk(&self, choices: Vec<ChatChunkChoice>) -> ChatCompletionChunk {
        let Heading { id, created, model, system_fingerprint } = self.heading.clone();
        let (object, usage) = (ChatChunkKind::ChatCompletionChunk, ChunkUsage::before_the_last(self.includes_usage()));
        ChatCompletionChunk { id, object, created, model, system_fingerprint, choices, usage }
    }
}
