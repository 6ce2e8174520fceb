//! Asking a second time: with the text that could not be read and why, or with the right label and the wish for the
//! reasoning that leads to it. The question stands at the end once more, so that the teacher goes on from there as in the
//! first place, and whoever finds its answers by the last question (the scripted teacher) finds the same one.

use super::{Message, instructions, surface};
use crate::domain::{AnswerForm, TaskDefinition};
use crate::task::answer;

/// Characters of an unreadable text that the teacher is shown: what is wrong with one is seen in far fewer.
const SHOWN_CHARS: usize = 2000;
/// What stands for an empty text: servers refuse an empty message.
const NOTHING: &str = "(nothing)";

/// The messages that ask again about `input` after the teacher's text `previous` could not be used for this `reason`,
/// which is what `answer::parse` gave.
pub fn repair(
    task: &TaskDefinition,
    answer_form: AnswerForm,
    input: &str,
    previous: &str,
    reason: &str,
) -> Vec<Message> {
    let question = surface::question(task.form, answer_form, input);
    let how = instructions::how(task.form, answer_form);
    let complaint = format!("That answer cannot be used: {reason}. Answer once more. {how}\n\n{question}");
    let mut messages = super::chat(task, answer_form, input);
    messages.push(Message::new("assistant", shown(task, answer_form, previous)));
    messages.push(Message::new("user", complaint));
    messages
}

/// The messages that show the right `label` of `input` and ask for the reasoning that leads to it (STaR's rationalization,
/// arXiv 2203.14465). The answer has the same form as any other: one with another label was not convinced.
pub fn rationalize(task: &TaskDefinition, answer_form: AnswerForm, input: &str, label: &str) -> Vec<Message> {
    let told = instructions::of(task, answer_form);
    let label = surface::written_label(task.form, answer_form, input, label);
    let question = surface::question(task.form, answer_form, input);
    let wish = "The right answer to the last question stands before it. Give that answer, and write the reasoning that \
                leads to it as if nobody had told you.";
    let shown = super::worked_examples(task, answer_form);
    vec![
        Message::new("system", format!("{told}\n{wish}")),
        Message::new("user", format!("{shown}The right answer to the next question: {label}\n\n{question}")),
    ]
}

/// The teacher's text without what ran on, as far as it helps.
fn shown(task: &TaskDefinition, answer_form: AnswerForm, previous: &str) -> String {
    let own = answer::own_text(task.form, answer_form, previous).0.trim();
    let end = own.char_indices().nth(SHOWN_CHARS).map_or(own.len(), |(place, _)| place);
    if own.is_empty() { NOTHING.to_owned() } else { own[..end].to_owned() }
}
