//! A task by its name or its definition.

use super::Refusals;
use crate::{
    api::{AppState, extract::nearest, shapes::NameOr},
    domain::{LabelSet, TaskDefinition},
    task::{
        builtin,
        labels::{MAX_LABEL_CHARS, shown},
    },
};

const MAX_LABELS: usize = 1000;
const MAX_WORKED_EXAMPLES: usize = 100;

/// The task that a request asks for; `text` (any label, exact match) where it asks for none.
pub fn resolve(state: &AppState, refusals: &mut Refusals, task: Option<NameOr<TaskDefinition>>) -> TaskDefinition {
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

fn by_name(state: &AppState, refusals: &mut Refusals, name: &str) -> TaskDefinition {
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
    refusals.require(task.name.chars().count() <= 128, "#/task/name", || {
        "a task's name has 128 characters at most".to_owned()
    });
    refusals.require(task.worked_examples.len() <= MAX_WORKED_EXAMPLES, "#/task/worked_examples", || {
        format!("{} worked examples; {MAX_WORKED_EXAMPLES} at most", task.worked_examples.len())
    });
    let LabelSet::Fixed(labels) = &task.label_set else { return };
    check_labels(refusals, "#/task/label_set/fixed", labels);
    for (index, example) in task.worked_examples.iter().enumerate() {
        refusals.require(labels.contains(&example.label), &format!("#/task/worked_examples/{index}/label"), || {
            format!("the label {:?} is not in the task's label set", shown(&example.label))
        });
    }
}

/// A set that an answer can be chosen from: two labels or more, all different, none empty, none endless.
pub fn check_labels(refusals: &mut Refusals, pointer: &str, labels: &[String]) {
    if !(2..=MAX_LABELS).contains(&labels.len()) {
        // The labels of a set without bounds are not looked at one by one.
        refusals.add(pointer, "invalid_value", format!("{} labels; send 2 to {MAX_LABELS}", labels.len()));
        return;
    }
    for (index, label) in labels.iter().enumerate() {
        let pointer = format!("{pointer}/{index}");
        let length = label.chars().count();
        refusals.require(!label.trim().is_empty(), &pointer, || "a label is empty".to_owned());
        if length > MAX_LABEL_CHARS {
            let detail = format!(
                "the label {:?}… has {length} characters; shorten it to {MAX_LABEL_CHARS}, or leave the label set open",
                shown(label)
            );
            refusals.add(&pointer, "label_too_long", detail);
        }
        refusals.require(!labels[..index].contains(label), &pointer, || {
            format!("the label {:?} is there twice", shown(label))
        });
    }
}
