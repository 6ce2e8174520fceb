//! What is wrong with a user's own task, before anybody is asked anything.

mod answers;

pub use answers::answer_faults;

use super::{
    labels::{MAX_LABEL_CHARS, shown},
    scoring,
};
use crate::domain::{LabelSet, TaskDefinition, WorkedExample};

const MAX_LABELS: usize = 1000;
const MAX_WORKED_EXAMPLES: usize = 100;
const MAX_NAME_CHARS: usize = 128;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionFault {
    /// Where in the definition, as a JSON pointer such as `/worked_examples/0/label`.
    pub place: String,
    /// A stable name.
    pub code: &'static str,
    /// What is wrong, and what would be right.
    pub message: String,
}

fn fault(place: impl Into<String>, message: String) -> DefinitionFault {
    DefinitionFault { place: place.into(), code: "invalid_value", message }
}

/// Everything that is wrong with a task; empty where all is well.
pub fn faults(task: &TaskDefinition) -> Vec<DefinitionFault> {
    let mut faults = Vec::new();
    if task.name.chars().count() > MAX_NAME_CHARS {
        faults.push(fault("/name", format!("a task's name has {MAX_NAME_CHARS} characters at most")));
    }
    if task.instructions.as_deref().is_some_and(|told| told.trim().is_empty()) {
        faults.push(fault("/instructions", "the instructions are empty; leave them out for the form's own".to_owned()));
    }
    let count = task.worked_examples.len();
    if count > MAX_WORKED_EXAMPLES {
        faults.push(fault("/worked_examples", format!("{count} worked examples; {MAX_WORKED_EXAMPLES} at most")));
    }
    if let LabelSet::Fixed(labels) = &task.label_set {
        faults.extend(label_faults("/label_set/fixed", labels));
    }
    for (index, example) in task.worked_examples.iter().take(MAX_WORKED_EXAMPLES).enumerate() {
        faults.extend(example_faults(task, &format!("/worked_examples/{index}"), example));
    }
    faults
}

/// A set that an answer can be chosen from has two labels or more, all different, none empty, none endless.
pub fn label_faults(place: &str, labels: &[String]) -> Vec<DefinitionFault> {
    if !(2..=MAX_LABELS).contains(&labels.len()) {
        // The labels of a set without bounds are not looked at one by one.
        return vec![fault(place, format!("{} labels; send 2 to {MAX_LABELS}", labels.len()))];
    }
    let mut faults = Vec::new();
    for (index, label) in labels.iter().enumerate() {
        let (place, length) = (format!("{place}/{index}"), label.chars().count());
        if label.trim().is_empty() {
            faults.push(fault(&place, "a label is empty".to_owned()));
        }
        if length > MAX_LABEL_CHARS {
            let message = format!(
                "the label {:?}… has {length} characters; shorten it to {MAX_LABEL_CHARS}, or leave the label set open",
                shown(label)
            );
            faults.push(DefinitionFault { code: "label_too_long", ..fault(&place, message) });
        }
        if labels[..index].contains(label) {
            faults.push(fault(&place, format!("the label {:?} is there twice", shown(label))));
        }
    }
    faults
}

/// A worked example shows what a good answer is: it has all three parts, and a label that would be taken from a teacher.
fn example_faults(task: &TaskDefinition, place: &str, example: &WorkedExample) -> Vec<DefinitionFault> {
    let WorkedExample { input, rationale, label } = example;
    let parts = [("input", input), ("rationale", rationale), ("label", label)];
    let empty = parts.into_iter().filter(|(_, text)| text.trim().is_empty());
    let mut faults: Vec<_> = empty
        .map(|(name, _)| fault(format!("{place}/{name}"), format!("the worked example's {name} is empty")))
        .collect();
    if faults.is_empty()
        && let Some(wrong) = scoring::label_fault(task, input, label)
    {
        faults.push(fault(format!("{place}/label"), wrong.words().to_owned()));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Scorer;
    use crate::task::builtin;

    fn places(task: &TaskDefinition) -> Vec<String> {
        faults(task).into_iter().map(|fault| fault.place).collect()
    }

    fn shows(label_set: LabelSet, scorer: Scorer, input: &str, rationale: &str, label: &str) -> TaskDefinition {
        let [input, rationale, label] = [input, rationale, label].map(str::to_owned);
        let worked_examples = vec![WorkedExample { input, rationale, label }];
        TaskDefinition { label_set, scorer, worked_examples, ..TaskDefinition::default() }
    }

    #[test]
    fn every_built_in_task_is_sound() {
        for task in builtin::names().into_iter().filter_map(builtin::find) {
            assert_eq!(faults(&task), [], "{}", task.name);
        }
    }

    #[test]
    fn a_worked_example_has_all_its_parts_and_a_label_that_would_be_taken() {
        let yes_or_no = || LabelSet::Fixed(vec!["yes".to_owned(), "no".to_owned()]);
        let exact = Scorer::ExactMatch;
        assert_eq!(places(&shows(yes_or_no(), exact, "a", "b", "yes")), [""; 0]);
        assert_eq!(places(&shows(yes_or_no(), exact, "a", "b", "Yes")), ["/worked_examples/0/label"]);
        assert_eq!(
            places(&shows(yes_or_no(), exact, " ", "", "yes")),
            ["/worked_examples/0/input", "/worked_examples/0/rationale"]
        );
        assert_eq!(places(&shows(LabelSet::Choices, exact, "q\n(a) zoo", "b", "pond")), ["/worked_examples/0/label"]);
        assert_eq!(places(&shows(LabelSet::Open, Scorer::Arithmetic, "q", "b", "x")), ["/worked_examples/0/label"]);
    }

    #[test]
    fn sets_that_nothing_can_be_chosen_from_are_named() {
        let set =
            |labels: &[&str]| label_faults("/l", &labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>());
        assert_eq!(set(&["a", "b"]), []);
        assert_eq!(set(&["a"])[0].place, "/l");
        assert_eq!(set(&["a", " ", "a"]).into_iter().map(|fault| fault.place).collect::<Vec<_>>(), ["/l/1", "/l/2"]);
        assert_eq!(set(&["a", &"é".repeat(501)])[0].code, "label_too_long");
        assert_eq!(set(&["a", &"é".repeat(500)]), []);
    }
}
