//! A task by its name or its definition.

use super::Refusals;
use crate::{
    api::{ProjectState, extract::nearest, shapes::NameOr},
    domain::{AnswerForm, TaskDefinition},
    task::{builtin, definition},
};

/// The task that a request asks for; `text` (any label, exact match) where it asks for none.
pub fn resolve(state: &ProjectState, refusals: &mut Refusals, task: Option<NameOr<TaskDefinition>>) -> TaskDefinition {
    match task {
        None => builtin::find("text").unwrap_or_default(),
        Some(NameOr::Name(name)) => by_name(state, refusals, &name),
        Some(NameOr::Inline(task)) => {
            check(refusals, &task);
            let name = if task.name.is_empty() { "inline".to_owned() } else { task.name };
            TaskDefinition { name, ..task }
        }
    }
}

/// The same for a teacher that is to answer in this form: what it is shown must be what is understood.
pub fn to_be_answered(
    state: &ProjectState,
    refusals: &mut Refusals,
    task: Option<NameOr<TaskDefinition>>,
    answer_form: AnswerForm,
) -> TaskDefinition {
    let is_inline = matches!(task, Some(NameOr::Inline(_)));
    let task = resolve(state, refusals, task);
    // What is wrong otherwise is refused already.
    if definition::faults(&task).is_empty() {
        for fault in definition::answer_faults(&task, answer_form) {
            let place = if is_inline { fault.place.as_str() } else { "" };
            refusals.add(format!("#/task{place}"), fault.code, fault.message);
        }
    }
    task
}

fn by_name(state: &ProjectState, refusals: &mut Refusals, name: &str) -> TaskDefinition {
    // The configuration wins, so that a site can adapt a built-in task.
    let found = state.tasks.iter().find(|task| task.name == name).cloned().or_else(|| builtin::find(name));
    found.unwrap_or_else(|| {
        let configured = state.tasks.iter().map(|task| task.name.as_str());
        let advice = nearest(name, configured.chain(builtin::names()));
        refusals.add("#/task", "task_not_found", format!("there is no task {name:?}{advice}"));
        TaskDefinition::default()
    })
}

fn check(refusals: &mut Refusals, task: &TaskDefinition) {
    definition::faults(task)
        .into_iter()
        .for_each(|fault| refusals.add(format!("#/task{}", fault.place), fault.code, fault.message));
}

/// A set that an answer can be chosen from.
pub fn check_labels(refusals: &mut Refusals, pointer: &str, labels: &[String]) {
    definition::label_faults(pointer, labels)
        .into_iter()
        .for_each(|fault| refusals.add(&fault.place, fault.code, fault.message));
}
