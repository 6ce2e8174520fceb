//! What the teacher is told before it is asked: the task, which its user may put in own words, and how an answer is
//! written, which the parser decides and nobody else can know.

use crate::domain::{AnswerForm, LabelSet, SurfaceForm, TaskDefinition};

/// Everything that it is told.
pub(super) fn of(task: &TaskDefinition, answer_form: AnswerForm) -> String {
    let told = task.instructions.as_deref().unwrap_or(what(task.form));
    let how = how(task.form, answer_form);
    match &task.label_set {
        LabelSet::Fixed(labels) => format!("{told}\n{how}\nThe answer is one of: {}.", labels.join(", ")),
        LabelSet::Open | LabelSet::Choices => format!("{told}\n{how}"),
    }
}

/// How an answer is written.
pub(super) fn how(form: SurfaceForm, answer_form: AnswerForm) -> String {
    match answer_form {
        AnswerForm::RationaleThenLabel => rationale_then_label(form).to_owned(),
        AnswerForm::LabelThenRationale => format!(
            "First write {} alone, then, on a new line, `Reasoning: ` and your reasoning in one or two sentences. Write \
             nothing after it.",
            label(form, "(c) wooded area")
        ),
        AnswerForm::Json => format!(
            "Write one JSON object and nothing else, with two texts: \"rationale\", your reasoning in one or two \
             sentences, and then \"label\", {} alone.",
            label(form, "wooded area")
        ),
    }
}

fn what(form: SurfaceForm) -> &'static str {
    match form {
        SurfaceForm::Text => "Answer the last input.",
        SurfaceForm::Esnli | SurfaceForm::Anli => {
            "Does the premise of the last pair entail its hypothesis, contradict it, or neither?"
        }
        SurfaceForm::Cqa => "Choose the best answer to the last question.",
        SurfaceForm::Svamp => "Solve the last problem.",
    }
}

fn rationale_then_label(form: SurfaceForm) -> &'static str {
    match form {
        SurfaceForm::Text => {
            "First write your reasoning in one or two sentences, then, on a new line, `Answer: ` and the answer alone. \
             Write nothing after it."
        }
        SurfaceForm::Esnli => {
            "First write your reasoning in one or two sentences, then, on a new line, `Answer: ` and the label alone."
        }
        SurfaceForm::Anli => {
            "Write your reasoning in one or two sentences and end with `So the answer is ` and the label."
        }
        SurfaceForm::Cqa => {
            "Write your reasoning in one or two sentences and end with `So the answer is ` and the letter and text of \
             the choice, such as `(c) wooded area`."
        }
        SurfaceForm::Svamp => {
            "Write your reasoning in one or two sentences and end with `The answer is ` and the equation in \
             parentheses, such as `(84 / 2)`, not its value."
        }
    }
}

/// What a label is, with an example where its form does not go without saying.
fn label(form: SurfaceForm, choice: &str) -> String {
    match form {
        SurfaceForm::Text => "the answer".to_owned(),
        SurfaceForm::Esnli | SurfaceForm::Anli => "the label".to_owned(),
        SurfaceForm::Cqa => format!("the choice, such as `{choice}`,"),
        SurfaceForm::Svamp => "the equation in parentheses, such as `(84 / 2)`, not its value,".to_owned(),
    }
}
