//! A line's fields that hold several texts.

use serde_json::Value;

use super::faults::{Fault, storable, wrong_type};
use super::labels;
use crate::domain::Example;

/// Rationales that a line may bring.
const MAX_RATIONALES: usize = 100;

/// The labels that a line may have.
pub(super) fn label_set(values: Vec<Value>) -> Result<Vec<String>, Fault> {
    let labels = texts("label_set", values)?;
    match labels.iter().find(|label| label.chars().count() > labels::MAX_LABEL_CHARS) {
        None => Ok(labels),
        Some(long) => {
            let (shown, most) = (labels::shown(long), labels::MAX_LABEL_CHARS);
            let message = format!("a label of a set has {most} characters at most; this one is longer: {shown:?}");
            Err(Fault::field("label_too_long", "label_set", message))
        }
    }
}

/// A line's own set is checked and then forgotten: what a student may answer is the task's to say.
pub(super) fn check_labels(example: &Example, allowed: &[String]) -> Result<(), Fault> {
    let given = [("label", &example.label), ("teacher_label", &example.teacher_label)];
    let strangers = given.into_iter().filter_map(|(field, label)| label.as_ref().map(|label| (field, label)));
    match strangers.into_iter().find(|(_, label)| !allowed.contains(label)) {
        Some((field, label)) => Err(Fault::field("label_not_in_set", field, labels::not_in_set(label, allowed))),
        None => Ok(()),
    }
}

/// Rationales that lead to the same label; a blank one is none.
pub(super) fn rationales(values: Vec<Value>) -> Result<Vec<String>, Fault> {
    if values.len() > MAX_RATIONALES {
        let message = format!("a line has {MAX_RATIONALES} rationales at most, not {}", values.len());
        return Err(Fault::field("unsupported_format", "rationales", message));
    }
    let mut rationales = texts("rationales", values)?;
    rationales.iter().try_for_each(|text| storable("rationales", text))?;
    rationales.retain(|text| !text.trim().is_empty());
    Ok(rationales)
}

fn texts(field: &str, values: Vec<Value>) -> Result<Vec<String>, Fault> {
    let text = |value| if let Value::String(text) = value { Ok(text) } else { Err(value) };
    let texts = values.into_iter().map(text).collect::<Result<Vec<_>, _>>();
    texts.map_err(|other| wrong_type(field, "an array of strings", &other))
}
