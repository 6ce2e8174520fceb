//! What the teacher is asked: instructions, worked examples, and the question last, in the task's surface form.

use serde::{Deserialize, Serialize};

use super::labels;
use crate::domain::{LabelSet, SurfaceForm, TaskDefinition, WorkedExample};

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text.
    pub content: String,
}

/// The messages that ask the teacher about `input`: a system message with the instructions, and one user message whose
/// last question block is the real one and ends where the teacher must go on.
pub fn chat(task: &TaskDefinition, input: &str) -> Vec<Message> {
    let shown: String = task.worked_examples.iter().map(|example| worked(task.form, example)).collect();
    vec![
        Message { role: "system".to_owned(), content: instructions(task) },
        Message { role: "user".to_owned(), content: format!("{shown}{}", question(task.form, input)) },
    ]
}

/// Where a teacher that runs on into an invented next question must stop.
pub fn stop_sequences(task: &TaskDefinition) -> Vec<String> {
    vec![format!("\n{}", head(task.form))]
}

/// The first words of a question block.
pub(crate) fn head(form: SurfaceForm) -> &'static str {
    match form {
        SurfaceForm::Text => "Input:",
        SurfaceForm::Esnli | SurfaceForm::Anli => "Premise:",
        SurfaceForm::Cqa | SurfaceForm::Svamp => "Q:",
    }
}

fn instructions(task: &TaskDefinition) -> String {
    let told = task.instructions.as_deref().unwrap_or(default_instructions(task.form));
    match &task.label_set {
        LabelSet::Fixed(labels) => format!("{told}\nThe answer is one of: {}.", labels.join(", ")),
        LabelSet::Open | LabelSet::Choices => told.to_owned(),
    }
}

fn default_instructions(form: SurfaceForm) -> &'static str {
    match form {
        SurfaceForm::Text => {
            "Answer the last input. First write your reasoning in one or two sentences, then, on a new line, \
             `Answer: ` and the answer alone. Write nothing after it."
        }
        SurfaceForm::Esnli => {
            "Does the premise entail the hypothesis, contradict it, or neither? For the last pair, first write your \
             reasoning in one or two sentences, then, on a new line, `Answer: ` and the label alone."
        }
        SurfaceForm::Anli => {
            "Does the premise entail the hypothesis, contradict it, or neither? For the last pair, write your \
             reasoning in one or two sentences and end with `So the answer is ` and the label."
        }
        SurfaceForm::Cqa => {
            "Choose the best answer to the last question. Write your reasoning in one or two sentences and end with \
             `So the answer is ` and the letter and text of the choice, such as `(c) wooded area`."
        }
        SurfaceForm::Svamp => {
            "Solve the last problem. Write your reasoning in one or two sentences and end with `The answer is ` and \
             the equation in parentheses, such as `(84 / 2)`, not its value."
        }
    }
}

/// The question, up to where the teacher goes on.
fn question(form: SurfaceForm, input: &str) -> String {
    match form {
        SurfaceForm::Text => format!("Input: {input}\nReasoning:"),
        SurfaceForm::Esnli => format!("{}\nReasonings:", premise_and_hypothesis(input)),
        SurfaceForm::Anli => format!("{}\nAnswer:", premise_and_hypothesis(input)),
        SurfaceForm::Cqa | SurfaceForm::Svamp => format!("Q: {input}\nA:"),
    }
}

fn worked(form: SurfaceForm, example: &WorkedExample) -> String {
    let WorkedExample { input, rationale, label } = example;
    let question = question(form, input);
    match form {
        SurfaceForm::Text | SurfaceForm::Esnli => format!("{question} {rationale}\nAnswer: {label}\n\n"),
        SurfaceForm::Anli => format!("{question} {rationale} So the answer is {label}.\n\n"),
        SurfaceForm::Cqa => format!("{question} {rationale} So the answer is {}.\n\n", lettered(input, label)),
        SurfaceForm::Svamp => format!("{question} {rationale} The answer is {label}.\n\n"),
    }
}

fn premise_and_hypothesis(input: &str) -> String {
    let (premise, hypothesis) = input.split_once("</s>").unwrap_or((input, ""));
    format!("Premise: {}\nHypothesis: {}", premise.trim(), hypothesis.trim())
}

fn lettered(input: &str, label: &str) -> String {
    let found = labels::lettered_choices(input).find(|(_, text)| *text == label);
    found.map_or_else(|| label.to_owned(), |(letter, text)| format!("({letter}) {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::builtin;

    #[test]
    fn the_real_question_comes_last_in_each_surface_form() {
        for (name, input, end) in [
            ("text", "a\nb", "Input: a\nb\nReasoning:"),
            ("esnli", "It rains.</s>It is wet.", "Premise: It rains.\nHypothesis: It is wet.\nReasonings:"),
            ("anli", "It rains.</s>It is wet.", "Premise: It rains.\nHypothesis: It is wet.\nAnswer:"),
            ("cqa", "Where?\nAnswer Choices:\n(a) zoo", "Q: Where?\nAnswer Choices:\n(a) zoo\nA:"),
            ("svamp", "Ann has 2.\nHow many?", "Q: Ann has 2.\nHow many?\nA:"),
        ] {
            let messages = chat(&builtin::find(name).unwrap(), input);
            assert_eq!(messages.len(), 2);
            assert!(messages[1].content.ends_with(end), "{name}: {}", messages[1].content);
        }
    }

    #[test]
    fn worked_examples_end_as_the_answers_must() {
        let esnli = chat(&builtin::find("esnli").unwrap(), "a</s>b");
        assert!(esnli[0].content.ends_with("one of: entailment, neutral, contradiction."));
        assert!(esnli[1].content.contains("\nAnswer: contradiction\n\nPremise:"));
        let cqa = chat(&builtin::find("cqa").unwrap(), "a");
        assert!(cqa[1].content.contains("So the answer is (b) "));
        let svamp = chat(&builtin::find("svamp").unwrap(), "a");
        assert!(svamp[1].content.contains("The answer is (7 - 3).\n\nQ: "));
    }

    #[test]
    fn own_instructions_replace_the_forms() {
        let task = TaskDefinition {
            instructions: Some("Decide.".to_owned()),
            label_set: LabelSet::Fixed(vec!["yes".to_owned(), "no".to_owned()]),
            ..TaskDefinition::default()
        };
        assert_eq!(chat(&task, "a")[0].content, "Decide.\nThe answer is one of: yes, no.");
        assert_eq!(chat(&task, "a")[1].content, "Input: a\nReasoning:");
        assert_eq!(stop_sequences(&task), ["\nInput:"]);
    }
}
