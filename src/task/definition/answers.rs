//! Whether an answer that is written as the teacher is told to write it can be read. Where it cannot, every answer of every
//! row would be paid for, repaired, paid for again, and thrown away.

use super::{DefinitionFault, fault, shown};
use crate::{
    domain::{AnswerForm, LabelSet, SurfaceForm, TaskDefinition, WorkedExample},
    task::{answer, prompt, scoring},
};

/// The first label of the set, or else each worked example, that cannot be read from an answer of this form. For tasks that
/// are sound otherwise.
pub fn answer_faults(task: &TaskDefinition, answer_form: AnswerForm) -> Vec<DefinitionFault> {
    if let Some(fault) = label_fault(task, answer_form) {
        return vec![fault];
    }
    let examples = task.worked_examples.iter().enumerate();
    let unread = examples.filter_map(|(index, example)| Some((index, unread(task, answer_form, example)?)));
    unread
        .map(|(index, why)| fault(format!("/worked_examples/{index}"), message("worked example", task, &why)))
        .collect()
}

fn label_fault(task: &TaskDefinition, answer_form: AnswerForm) -> Option<DefinitionFault> {
    let LabelSet::Fixed(labels) = &task.label_set else { return None };
    labels.iter().enumerate().find_map(|(index, label)| {
        let [input, rationale] = ["x", "It is so."].map(str::to_owned);
        let why = unread(task, answer_form, &WorkedExample { input, rationale, label: label.clone() })?;
        let what = format!("label {:?}", shown(label));
        Some(fault(format!("/label_set/fixed/{index}"), message(&what, task, &why)))
    })
}

/// Why the example's answer is not read as its label.
fn unread(task: &TaskDefinition, answer_form: AnswerForm, example: &WorkedExample) -> Option<String> {
    let text = prompt::answer(task.form, answer_form, example);
    let read = answer::parse(task, answer_form, &example.input, &text, false);
    match read.label {
        Some(label) if scoring::is_correct(task, &label, &example.label) => None,
        Some(label) => Some(format!("its label is read as {:?}", shown(&label))),
        None => Some(read.reason.unwrap_or_default()),
    }
}

fn message(what: &str, task: &TaskDefinition, why: &str) -> String {
    let remedy = match task.form {
        SurfaceForm::Cqa => {
            "form `cqa` reads choices that the input lists, such as `(c) pond`: use it with `\"label_set\": \
                             \"choices\"`, or use form `text`"
        }
        SurfaceForm::Svamp => {
            "form `svamp` reads equations in parentheses, such as `(84 / 2)`: use form `text` for others"
        }
        SurfaceForm::Text | SurfaceForm::Esnli | SurfaceForm::Anli => {
            "a label is one line, and reasoning must not hold the words that lead to the label; the answer form `json` \
             takes any text"
        }
    };
    format!("an answer like this {what} could not be read ({why}): {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::Scorer, task::builtin};

    const FIRST: AnswerForm = AnswerForm::RationaleThenLabel;

    fn fixed(form: SurfaceForm, labels: [&str; 2]) -> TaskDefinition {
        let labels = LabelSet::Fixed(labels.map(str::to_owned).to_vec());
        TaskDefinition { form, label_set: labels, ..TaskDefinition::default() }
    }

    fn shows(task: TaskDefinition, rationale: &str, label: &str) -> TaskDefinition {
        let [input, rationale, label] = ["Where?\n(a) zoo\n(c) pond", rationale, label].map(str::to_owned);
        TaskDefinition { worked_examples: vec![WorkedExample { input, rationale, label }], ..task }
    }

    /// Where a task cannot be read in the paper's order of answers.
    fn places(task: &TaskDefinition) -> Vec<String> {
        answer_faults(task, FIRST).into_iter().map(|fault| fault.place).collect()
    }

    #[test]
    fn the_built_in_tasks_can_be_read_in_every_form() {
        for task in builtin::names().into_iter().filter_map(builtin::find) {
            assert!(AnswerForm::ALL.iter().all(|form| answer_faults(&task, *form).is_empty()), "{}", task.name);
        }
    }

    #[test]
    fn a_set_that_its_form_cannot_write_is_named_once() {
        for form in [SurfaceForm::Cqa, SurfaceForm::Svamp] {
            let task = shows(fixed(form, ["yes", "no"]), "It is so.", "yes");
            assert_eq!(places(&task), ["/label_set/fixed/0"], "{form:?}");
            let message = &answer_faults(&task, FIRST)[0].message;
            assert!(message.contains("form `text`"), "{message}");
            assert_eq!(answer_faults(&task, AnswerForm::Json), [], "an object holds any label");
        }
        for form in [SurfaceForm::Text, SurfaceForm::Esnli, SurfaceForm::Anli] {
            assert_eq!(places(&fixed(form, ["yes", "No way."])), [""; 0], "{form:?}");
        }
        assert_eq!(places(&fixed(SurfaceForm::Text, ["yes", "no\nway"])), ["/label_set/fixed/1"]);
    }

    #[test]
    fn a_worked_example_that_would_be_read_otherwise_is_named() {
        let choices = |form| TaskDefinition { form, label_set: LabelSet::Choices, ..TaskDefinition::default() };
        for form in [SurfaceForm::Text, SurfaceForm::Cqa] {
            assert_eq!(places(&shows(choices(form), "It swims.", "pond")), [""; 0], "{form:?}");
        }
        let open = TaskDefinition::default();
        assert_eq!(places(&shows(open.clone(), "The Answer: is near.", "pond")), ["/worked_examples/0"]);
        assert_eq!(places(&shows(open, "It swims.", "pond")), [""; 0]);
        let svamp = |label| {
            let task =
                TaskDefinition { scorer: Scorer::Arithmetic, form: SurfaceForm::Svamp, ..TaskDefinition::default() };
            places(&shows(task, "Two and three.", label))
        };
        assert_eq!((svamp("(2 + 3)"), svamp("2 + 3")), (vec![], vec!["/worked_examples/0".to_owned()]));
    }
}
