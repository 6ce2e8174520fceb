//! How a question and a worked example are written, in the task's surface form and the form that its answer is to have.

use serde::Serialize;

use crate::domain::{AnswerForm, SurfaceForm, WorkedExample};
use crate::task::labels;

/// What stands before the reasoning where the label comes first.
pub(crate) const REASONING: &str = "Reasoning:";

/// The first words of a question block.
pub(crate) fn head(form: SurfaceForm) -> &'static str {
    match form {
        SurfaceForm::Text => "Input:",
        SurfaceForm::Esnli | SurfaceForm::Anli => "Premise:",
        SurfaceForm::Cqa | SurfaceForm::Svamp => "Q:",
    }
}

/// The question, up to where the teacher goes on.
pub(super) fn question(form: SurfaceForm, answer_form: AnswerForm, input: &str) -> String {
    let asked = match form {
        SurfaceForm::Text => format!("Input: {input}"),
        SurfaceForm::Esnli | SurfaceForm::Anli => premise_and_hypothesis(input),
        SurfaceForm::Cqa | SurfaceForm::Svamp => format!("Q: {input}"),
    };
    format!("{asked}\n{}", cue(form, answer_form))
}

/// The question with its answer and a blank line.
pub(super) fn worked(form: SurfaceForm, answer_form: AnswerForm, example: &WorkedExample) -> String {
    format!("{} {}\n\n", question(form, answer_form, &example.input), answer(form, answer_form, example))
}

/// A label as an answer of this form writes it.
pub(super) fn written_label(form: SurfaceForm, answer_form: AnswerForm, input: &str, label: &str) -> String {
    match (form, answer_form) {
        (SurfaceForm::Cqa, AnswerForm::RationaleThenLabel | AnswerForm::LabelThenRationale) => lettered(input, label),
        _ => label.to_owned(),
    }
}

/// The words after which the answer begins.
pub(crate) fn cue(form: SurfaceForm, answer_form: AnswerForm) -> &'static str {
    match (form, answer_form) {
        (SurfaceForm::Text, AnswerForm::RationaleThenLabel) => REASONING,
        (SurfaceForm::Esnli, AnswerForm::RationaleThenLabel) => "Reasonings:",
        (SurfaceForm::Text | SurfaceForm::Esnli | SurfaceForm::Anli, _) => "Answer:",
        (SurfaceForm::Cqa | SurfaceForm::Svamp, _) => "A:",
    }
}

/// A worked example's answer.
pub(crate) fn answer(form: SurfaceForm, answer_form: AnswerForm, example: &WorkedExample) -> String {
    let WorkedExample { input, rationale, label } = example;
    let label = written_label(form, answer_form, input, label);
    match (answer_form, form) {
        (AnswerForm::Json, _) => json(rationale, &label),
        (AnswerForm::LabelThenRationale, _) => format!("{label}\n{REASONING} {rationale}"),
        (AnswerForm::RationaleThenLabel, SurfaceForm::Text | SurfaceForm::Esnli) => {
            format!("{rationale}\nAnswer: {label}")
        }
        (AnswerForm::RationaleThenLabel, SurfaceForm::Anli | SurfaceForm::Cqa) => {
            format!("{rationale} So the answer is {label}.")
        }
        (AnswerForm::RationaleThenLabel, SurfaceForm::Svamp) => format!("{rationale} The answer is {label}."),
    }
}

/// A struct, because its members keep their order: the reasoning must come before what follows from it.
#[derive(Serialize)]
struct JsonAnswer<'a> {
    rationale: &'a str,
    label: &'a str,
}

fn json(rationale: &str, label: &str) -> String {
    serde_json::to_string(&JsonAnswer { rationale, label }).expect("texts are always JSON")
}

fn premise_and_hypothesis(input: &str) -> String {
    let (premise, hypothesis) = input.split_once("</s>").unwrap_or((input, ""));
    format!("Premise: {}\nHypothesis: {}", premise.trim(), hypothesis.trim())
}

fn lettered(input: &str, label: &str) -> String {
    let found = labels::lettered_choices(input).find(|(_, text)| *text == label);
    found.map_or_else(|| label.to_owned(), |(letter, text)| format!("({letter}) {text}"))
}
