//! The teacher's text, read: its rationale and its label, in the form that was asked for. Where reasoning comes first, each
//! surface form is read by the research code's rules; what those left in the training data (labels outside the set,
//! equations without a value) is told apart here and not learned. No text, however long or deep, is more than unreadable.

mod emphasis;
mod json;
mod label_first;
mod rationale_first;

use super::{arithmetic, labels, prompt};
use crate::domain::{AnnotationStatus, AnswerForm, LabelSet, Scorer, SurfaceForm, TaskDefinition};

/// What was read from a teacher's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedAnswer {
    /// What became of it. A valid answer has a label; its rationale may still be missing.
    pub status: AnnotationStatus,
    /// The label; one of the task's set where it has one.
    pub label: Option<String>,
    /// The reasoning to the label, where there is any.
    pub rationale: Option<String>,
    /// Why the answer is not valid.
    pub reason: Option<String>,
}

/// The parts of a text, both trimmed.
#[derive(Default)]
struct Parts {
    /// Empty where there is none.
    rationale: String,
    label: Option<String>,
    /// Whether more of the text would not change the label.
    is_label_whole: bool,
}

/// Reads the teacher's `text` about `input`. `truncated`: the teacher was cut off at its token limit.
pub fn parse(task: &TaskDefinition, answer_form: AnswerForm, input: &str, text: &str, truncated: bool) -> ParsedAnswer {
    let (own, runs_on) = own_text(task.form, answer_form, text);
    let truncated = truncated && !runs_on;
    let parts = match answer_form {
        AnswerForm::RationaleThenLabel => rationale_first::read(task.form, own),
        AnswerForm::LabelThenRationale => label_first::read(task.form, own),
        AnswerForm::Json => json::read(own),
    };
    let Parts { rationale, label, is_label_whole } = parts;
    let label = label.filter(|label| !label.is_empty()).ok_or_else(|| no_label(task.form, answer_form));
    match label.and_then(|label| checked(task, answer_form, input, &label)) {
        Ok(_) if truncated && answer_form == AnswerForm::LabelThenRationale => not_valid(
            AnnotationStatus::Truncated,
            "the text was cut off at the token limit, and its rationale with it".to_owned(),
        ),
        Ok(label) if truncated && !is_label_whole && labels::may_go_on(task, input, &label) => not_valid(
            AnnotationStatus::Truncated,
            "the text was cut off at the token limit in its label, which may be longer".to_owned(),
        ),
        Ok(label) => ParsedAnswer {
            status: AnnotationStatus::Valid,
            label: Some(label),
            rationale: (!rationale.is_empty()).then_some(rationale),
            reason: None,
        },
        Err(reason) => why_not(own, truncated, reason),
    }
}

/// What a teacher's refusal is, that came as one: in a field of its own, or as the end of its text.
pub fn declined() -> ParsedAnswer {
    not_valid(AnnotationStatus::Refused, "the teacher declined to answer".to_owned())
}

/// What of the text is the answer, without the thoughts that some teachers write before it, the question where they repeat
/// it, and the next question that the teacher invented; and whether there was one.
pub(super) fn own_text(form: SurfaceForm, answer_form: AnswerForm, text: &str) -> (&str, bool) {
    let (text, head) = (after_thoughts(text), prompt::head(form));
    let text = behind_question(text, head, prompt::cue(form, answer_form));
    // The research code cuts at `Q:` and `Premise` anywhere. Other texts may have `Input:` in a sentence.
    let is_cut = |place: usize| match (form, answer_form) {
        (SurfaceForm::Text, _) | (_, AnswerForm::LabelThenRationale | AnswerForm::Json) => {
            text[..place].ends_with('\n')
        }
        (_, AnswerForm::RationaleThenLabel) => true,
    };
    let heads = text.match_indices(head).map(|(place, _)| place);
    // What nothing stands before is no next question.
    let begun = text.len() - text.trim_start().len();
    let cut = heads.into_iter().find(|&place| place > begun && is_cut(place));
    cut.map_or((text, false), |cut| (&text[..cut], true))
}

/// The answer of a teacher that repeats the question first. A question whose answer does not begin as it was told to is
/// left where it is.
fn behind_question<'a>(text: &'a str, head: &str, cue: &str) -> &'a str {
    if !text.trim_start().starts_with(head) {
        return text;
    }
    let place = text.find(&format!("\n{cue}"));
    place.map_or(text, |place| &text[place + 1 + cue.len()..])
}

/// The text behind `<think>…</think>`; nothing of thoughts that did not end. Chat templates may write the opening themselves.
fn after_thoughts(text: &str) -> &str {
    match text.rsplit_once("</think>") {
        Some((_, answer)) => answer,
        None if text.trim_start().starts_with("<think>") => "",
        None => text,
    }
}

/// The label as the task writes it, or why it is none of the task's.
fn checked(task: &TaskDefinition, answer_form: AnswerForm, input: &str, label: &str) -> Result<String, String> {
    if let Some(allowed) = labels::allowed_labels(task, input) {
        let found = match (&task.label_set, answer_form) {
            // Forgiving the case of `(c) Michigan` would raise the paper's teacher by a point above its published figure.
            (LabelSet::Choices, AnswerForm::RationaleThenLabel) if task.form == SurfaceForm::Cqa => {
                allowed.iter().find(|allowed| allowed.as_str() == label).cloned()
            }
            (LabelSet::Choices, _) => labels::read_as_choice(label, input),
            (LabelSet::Fixed(_) | LabelSet::Open, _) => labels::read_as(label, &allowed),
        };
        return found.ok_or_else(|| labels::not_in_set(label, &allowed));
    }
    match task.scorer {
        Scorer::Arithmetic if arithmetic::evaluate(label).is_none() => {
            Err(format!("label {:?} is not arithmetic that has a value", labels::shown(label)))
        }
        // A set may list signs. Where nobody listed them, they are what is left of a label that could not be read.
        _ if !label.contains(char::is_alphanumeric) => Err(format!(
            "label {:?} has neither a letter nor a digit; give the task a fixed label set if it is meant",
            labels::shown(label)
        )),
        _ => Ok(label.to_owned()),
    }
}

fn no_label(form: SurfaceForm, answer_form: AnswerForm) -> String {
    let wanted = match (answer_form, form) {
        (AnswerForm::Json, _) => return "the text holds no JSON object with a \"label\"".to_owned(),
        (AnswerForm::LabelThenRationale, _) => return "the text does not begin with a label".to_owned(),
        (_, SurfaceForm::Text | SurfaceForm::Esnli) => "`Answer: ` and a label",
        (_, SurfaceForm::Anli) => "`So the answer is ` and a label",
        (_, SurfaceForm::Cqa) => "`So the answer is ` and a choice such as `(c) …`",
        (_, SurfaceForm::Svamp) => "`The answer is ` and an equation in parentheses",
    };
    format!("the text does not end in {wanted}")
}

fn why_not(text: &str, truncated: bool, reason: String) -> ParsedAnswer {
    if truncated {
        let reason = "the text was cut off at the token limit before its label".to_owned();
        return not_valid(AnnotationStatus::Truncated, reason);
    }
    if text.trim().is_empty() {
        return not_valid(AnnotationStatus::Invalid, "the text is empty".to_owned());
    }
    if is_refusal(text) {
        return declined();
    }
    not_valid(AnnotationStatus::Invalid, reason)
}

fn not_valid(status: AnnotationStatus, reason: String) -> ParsedAnswer {
    ParsedAnswer { status, label: None, rationale: None, reason: Some(reason) }
}

/// Only openings that no reasoning has: a wrong guess here hides an answer that did not parse.
fn is_refusal(text: &str) -> bool {
    let opening: String = text.trim_start().chars().take(40).collect::<String>().to_lowercase().replace('’', "'");
    ["i can't", "i cannot", "i'm sorry", "i am sorry", "sorry,", "i'm unable", "i am unable", "i won't", "as an ai"]
        .iter()
        .any(|start| opening.starts_with(start))
}

#[cfg(test)]
#[path = "answer_chat_tests.rs"]
mod chat_tests;
#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
