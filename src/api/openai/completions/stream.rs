//! Completions in chunks, as they are written.

use async_stream::stream;
use futures::Stream;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        heading::Heading,
        logprobs::CompletionLogprobs,
        usage::{ChunkUsage, FinishReason, TokenUsage},
    },
    CompletionKind, ID_PREFIX, refused,
    request::Asked,
};
use crate::{
    api::{ProjectState, asked_model::AskedModel, error::ApiError},
    inference::{Completion, Following, Fragment, News},
};

/// A part of completions that come in chunks. The answers to several prompts come in any order: `index` tells them apart.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletionChunk {
    /// Names the answer; the same in all its chunks.
    #[schema(example = "cmpl-0199f3c2a5b87e4d9c1f2a3b4c5d6e7f")]
    id: String,
    /// Always `text_completion`.
    object: CompletionKind,
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
    choices: Vec<CompletionChunkChoice>,
    /// Tokens of all prompts and answers, in the last chunk with `include_usage`, which has null in the others; not there without it.
    #[serde(skip_serializing_if = "ChunkUsage::is_left_out")]
    #[schema(value_type = Option<TokenUsage>)]
    usage: ChunkUsage,
}

/// What has come of one answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletionChunkChoice {
    /// The answer's place, as in an answer that comes whole.
    #[schema(example = 0)]
    index: usize,
    /// What follows what came before.
    #[schema(example = " refund")]
    text: String,
    /// Why the answer ended, in its last chunk; null before.
    #[schema(required = true)]
    finish_reason: Option<FinishReason>,
    /// The tokens of the text and how likely they were, where they are asked for.
    #[schema(required = true)]
    logprobs: Option<CompletionLogprobs>,
}

/// A completion's chunks. What goes wrong before there is anything to say is no chunk.
pub async fn chunks(
    state: ProjectState,
    model: AskedModel,
    asked: Asked,
    mut following: Following<Completion>,
) -> Result<impl Stream<Item = Result<CompletionChunk, ApiError>>, ApiError> {
    let mut next = following.next().await;
    if let Some((index, News::Whole(Err(error)))) = next {
        return Err(refused(&model, &asked, index, error));
    }
    let heading = Heading::new(&state, ID_PREFIX, &model);
    let mut stream = Chunks { heading, asked, prompt_tokens: 0, completion_tokens: 0 };
    Ok(stream! {
        while let Some((index, news)) = next {
            match news {
                News::Fragment(fragment) => yield Ok(stream.fragment(index, fragment)),
                News::Whole(Ok(completion)) => yield Ok(stream.end(index, &completion)),
                News::Whole(Err(error)) => {
                    yield Err(refused(&model, &stream.asked, index, error));
                    return;
                }
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
    asked: Asked,
    prompt_tokens: u64,
    completion_tokens: u64,
}

impl Chunks {
    fn fragment(&self, index: usize, fragment: Fragment) -> CompletionChunk {
        let logprobs = self.asked.logprobs.map(|count| CompletionLogprobs::new(fragment.tokens, count));
        self.chunk(vec![CompletionChunkChoice { index, text: fragment.text, finish_reason: None, logprobs }])
    }

    fn end(&mut self, index: usize, completion: &Completion) -> CompletionChunk {
        if index.is_multiple_of(self.asked.answers) {
            self.prompt_tokens += completion.prompt_tokens;
        }
        self.completion_tokens += completion.completion_tokens;
        let finish_reason = Some(completion.finish.into());
        self.chunk(vec![CompletionChunkChoice { index, text: String::new(), finish_reason, logprobs: None }])
    }

    fn includes_usage(&self) -> bool {
        self.asked.stream.is_some_and(|options| options.includes_usage())
    }

    fn usage(&self) -> CompletionChunk {
        let usage = TokenUsage::new(self.prompt_tokens, self.completion_tokens);
        CompletionChunk { usage: ChunkUsage::Told(usage), ..self.chunk(Vec::new()) }
    }

    fn chunk(&self, choices: Vec<CompletionChunkChoice>) -> CompletionChunk {
        let Heading { id, created, model, system_fingerprint } = self.heading.clone();
        let usage = ChunkUsage::before_the_last(self.includes_usage());
        CompletionChunk {
            id,
            object: CompletionKind::TextCompletion,
            created,
            model,
            system_fingerprint,
            choices,
            usage,
        }
    }
}
