//! What the teacher is asked: instructions, worked examples, and the question last, in the task's surface form.

mod again;
mod instructions;
mod surface;

use serde::{Deserialize, Serialize};

pub use again::{rationalize, repair};
pub(crate) use surface::{REASONING, answer, cue, head};

use crate::domain::{AnswerForm, LabelSet, TaskDefinition};

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text.
    pub content: String,
}

impl Message {
    fn new(role: &str, content: String) -> Self {
        Self { role: role.to_owned(), content }
    }
}

/// What an answer in JSON must be, for teachers that can be held to a schema: an object of the texts `rationale` and
/// `label`, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerSchema {
    /// The labels that it may have; `None` where any text will do, or where each question has its own.
    pub labels: Option<Vec<String>>,
}

/// The messages that ask the teacher about `input`: a system message with the instructions, and one user message whose
/// last question block is the real one and ends where the teacher must go on.
pub fn chat(task: &TaskDefinition, answer_form: AnswerForm, input: &str) -> Vec<Message> {
    let question = surface::question(task.form, answer_form, input);
    vec![
        Message::new("system", instructions::of(task, answer_form)),
        Message::new("user", format!("{}{question}", worked_examples(task, answer_form))),
    ]
}

/// Where a teacher that runs on into an invented next question must stop.
pub fn stop_sequences(task: &TaskDefinition) -> Vec<String> {
    vec![format!("\n{}", head(task.form))]
}

/// The schema of an answer; `None` where it is not to be JSON. Sets that each question brings are left to the words: a
/// server that compiles schemas would compile one for every example.
pub fn answer_schema(task: &TaskDefinition, answer_form: AnswerForm) -> Option<AnswerSchema> {
    let labels = match &task.label_set {
        LabelSet::Fixed(labels) => Some(labels.clone()),
        LabelSet::Open | LabelSet::Choices => None,
    };
    (answer_form == AnswerForm::Json).then_some(AnswerSchema { labels })
}

/// The same as one text that ends where the teacher must go on, for those that are not asked by messages.
pub fn as_text(messages: &[Message]) -> String {
    let mut text = String::new();
    for message in messages {
        // An answer goes on behind the question that it was the answer to.
        let gap = if text.is_empty() {
            ""
        } else if message.role == "assistant" {
            " "
        } else {
            "\n\n"
        };
        text = text + gap + &message.content;
    }
    text
}

fn worked_examples(task: &TaskDefinition, answer_form: AnswerForm) -> String {
    task.worked_examples.iter().map(|example| surface::worked(task.form, answer_form, example)).collect()
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
