//! What a teacher would be asked about the first examples of a file, word for word: for people who want to read what they pay
//! for before they do.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    annotation::Grounds,
    prompts::{self, Prompts},
};
use crate::{
    api::ProjectState,
    domain::{AnnotationSpec, Example, TeacherApi},
    task::prompt::{self, Message},
};

/// Examples that are shown.
const SHOWN: usize = 3;

/// One question to a teacher.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The example that it asks about.
    example_id: String,
    /// The messages of a chat; null for a teacher of plain completions.
    #[schema(required = true)]
    messages: Option<Vec<QuestionMessage>>,
    /// The text that a teacher of plain completions goes on from; null for a chat.
    #[schema(required = true)]
    prompt: Option<String>,
    /// Tokens of it, as the estimate counts them.
    input_tokens: u64,
}

/// One message of a question.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuestionMessage {
    /// `system` or `user`.
    role: String,
    /// Its text.
    content: String,
}

pub(super) fn first(state: &ProjectState, spec: &AnnotationSpec, grounds: &Grounds) -> Vec<Question> {
    let most = spec.max_examples.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX).min(SHOWN);
    let terms = state.teachers.iter().find(|terms| terms.name == spec.teacher);
    let api = terms.map(|terms| terms.api).unwrap_or_default();
    let counts = Prompts::of(&grounds.past);
    let question = |example: &Example| {
        question(example.id.clone(), prompt::chat(&spec.task, spec.answer_form, &example.input), api, &counts)
    };
    grounds.examples.iter().take(most).map(question).collect()
}

fn question(example_id: String, messages: Vec<Message>, api: TeacherApi, counts: &Prompts) -> Question {
    let text = prompt::as_text(&messages);
    let input_tokens = counts.counted(prompts::by_rule(&text)).expected.round() as u64;
    let chat = |Message { role, content }| QuestionMessage { role, content };
    let (messages, prompt) = match api {
        TeacherApi::Chat => (Some(messages.into_iter().map(chat).collect()), None),
        TeacherApi::Completions => (None, Some(text)),
    };
    Question { example_id, messages, prompt, input_tokens }
}
