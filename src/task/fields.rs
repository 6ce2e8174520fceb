//! One line's fields: which there are, what they may hold, and the example that they make.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::lines::Fault;
use crate::domain::{AnnotationStatus, Example};

/// Every field that a line may have. `agreement` and `status` are those of an annotation's output, which is itself a
/// training file.
const FIELDS: [&str; 9] =
    ["id", "input", "label", "teacher_label", "rationale", "premise", "hypothesis", "agreement", "status"];

/// The example of line `number`, whose text this is.
pub(super) fn read(text: &str, number: u64) -> Result<Example, Fault> {
    let fields = match serde_json::from_str::<Fields>(text) {
        Ok(Fields(fields)) => fields,
        Err(error) => return Err(not_fields(text, &error)),
    };
    let mut line = Line::default();
    for (name, value) in fields {
        line.take(&name, value)?;
    }
    line.into_example(number)
}

/// A line's members in order; unlike a map it keeps a name that comes twice.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Fields(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[derive(Default)]
struct Line {
    texts: Vec<(&'static str, String)>,
    seen: Vec<&'static str>,
    /// The annotation did not end in a valid answer, so its teacher's label is none.
    not_valid: bool,
}

impl Line {
    fn take(&mut self, name: &str, value: Value) -> Result<(), Fault> {
        let Some(field) = FIELDS.into_iter().find(|field| *field == name) else { return Err(unknown(name)) };
        if self.seen.contains(&field) {
            return Err(Fault::field("duplicate_field", field, format!("{field:?} comes twice in the line")));
        }
        self.seen.push(field);
        match (field, value) {
            ("agreement", _) | (_, Value::Null) => Ok(()),
            ("status", Value::String(status)) => self.take_status(&status),
            (_, Value::String(text)) => self.take_text(field, text),
            (_, other) => {
                let message = format!("{field:?} must be a string, not {}", kind(&other));
                Err(Fault::field("wrong_type", field, message))
            }
        }
    }

    fn take_status(&mut self, status: &str) -> Result<(), Fault> {
        let status: AnnotationStatus =
            status.parse().map_err(|message| Fault::field("wrong_type", "status", message))?;
        self.not_valid = status != AnnotationStatus::Valid;
        Ok(())
    }

    fn take_text(&mut self, field: &'static str, text: String) -> Result<(), Fault> {
        // Postgres cannot store it, and no tokenizer has a piece for it.
        if text.contains('\0') {
            return Err(Fault::field("invalid_character", field, format!("{field:?} holds the character U+0000")));
        }
        // An empty label or rationale is an absent one; an empty input is found missing below.
        if !text.trim().is_empty() {
            self.texts.push((field, text));
        }
        Ok(())
    }

    fn text(&mut self, field: &str) -> Option<String> {
        let place = self.texts.iter().position(|(name, _)| *name == field)?;
        Some(self.texts.swap_remove(place).1)
    }

    fn into_example(mut self, number: u64) -> Result<Example, Fault> {
        let input = self.input()?;
        let teacher_label = self.text("teacher_label").filter(|_| !self.not_valid);
        Ok(Example {
            id: self.text("id").unwrap_or_else(|| format!("line-{number}")),
            input,
            label: self.text("label"),
            teacher_label,
            rationale: self.text("rationale"),
        })
    }

    fn input(&mut self) -> Result<String, Fault> {
        let pair = ["premise", "hypothesis"];
        if !pair.iter().any(|field| self.seen.contains(field)) {
            return self.needed("input");
        }
        if self.seen.contains(&"input") {
            let message = "a line has either \"input\" or \"premise\" and \"hypothesis\", not both".to_owned();
            return Err(Fault::field("conflicting_fields", "input", message));
        }
        // The research code joins the two with T5's end-of-sequence token.
        let [premise, hypothesis] = pair.map(|field| self.needed(field));
        Ok(format!("{}</s>{}", premise?, hypothesis?))
    }

    fn needed(&mut self, field: &'static str) -> Result<String, Fault> {
        let code = if self.seen.contains(&field) { "empty" } else { "missing_field" };
        let message = if code == "empty" { format!("{field:?} is empty") } else { format!("the line lacks {field:?}") };
        self.text(field).ok_or_else(|| Fault::field(code, field, message))
    }
}

fn not_fields(text: &str, error: &serde_json::Error) -> Fault {
    match serde_json::from_str::<Value>(text) {
        Ok(other) => Fault::line("not_object", &format!("a line must be a JSON object, not {}", kind(&other))),
        Err(_) if text == "{" => {
            Fault::line("invalid_json", "the object does not end on its line: JSONL wants each object on one line")
        }
        Err(_) => {
            let what = error.to_string();
            let what = what.split(" at line ").next().unwrap_or_default();
            Fault::line("invalid_json", &format!("not JSON: {what} at column {}", error.column()))
        }
    }
}

fn unknown(name: &str) -> Fault {
    let shown: String = name.chars().take(40).collect();
    let near = FIELDS.into_iter().map(|field| (strsim::damerau_levenshtein(&shown, field), field)).min();
    let advice = match near {
        Some((distance, field)) if distance <= 1 + field.len() / 4 => format!("did you mean {field:?}?"),
        _ => format!("a line may have {}", FIELDS[..7].join(", ")),
    };
    Fault::field("unknown_field", &shown, format!("unknown field {shown:?}; {advice}"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, code: &str, field: Option<&str>, part: &str) {
        let fault = read(text, 1).unwrap_err();
        assert_eq!((fault.code, fault.field.as_deref()), (code, field), "{}", fault.message);
        assert!(fault.message.contains(part), "{}", fault.message);
    }

    #[test]
    fn premise_and_hypothesis_make_an_input() {
        let example = read(r#"{"premise":"It rains.","hypothesis":"It is wet.","label":"neutral"}"#, 3).unwrap();
        assert_eq!((example.id.as_str(), example.input.as_str()), ("line-3", "It rains.</s>It is wet."));
    }

    #[test]
    fn an_empty_label_or_rationale_is_absent() {
        let example = read(r#"{"input":"a","label":" ","rationale":"","teacher_label":null}"#, 1).unwrap();
        assert_eq!((example.label, example.rationale, example.teacher_label), (None, None, None));
    }

    #[test]
    fn an_annotations_output_line_is_a_training_line() {
        let line = |status: &str| {
            format!(
                r#"{{"id":"a","input":"x","label":null,"teacher_label":"l","rationale":"r","agreement":1,"status":"{status}"}}"#
            )
        };
        assert_eq!(read(&line("valid"), 1).unwrap().teacher_label.as_deref(), Some("l"));
        assert_eq!(read(&line("invalid"), 1).unwrap().teacher_label, None);
        refused(&line("fine"), "wrong_type", Some("status"), "unknown annotation status");
    }

    #[test]
    fn bad_lines_say_what_is_wrong_and_what_would_be_right() {
        refused("{", "invalid_json", None, "each object on one line");
        refused(r#"{"input":"a",}"#, "invalid_json", None, "column");
        refused(r#"{"input":"\ud800"}"#, "invalid_json", None, "hex escape");
        refused(r#"{"input":NaN}"#, "invalid_json", None, "not JSON");
        refused("\"a\"", "not_object", None, "not a string");
        refused("[1]", "not_object", None, "not an array");
        refused("{}", "missing_field", Some("input"), "lacks \"input\"");
        refused(r#"{"input":" "}"#, "empty", Some("input"), "empty");
        refused(r#"{"premise":"a"}"#, "missing_field", Some("hypothesis"), "hypothesis");
        refused(r#"{"premise":"a","hypothesis":"b","input":"c"}"#, "conflicting_fields", Some("input"), "not both");
        refused(r#"{"input":"a","label":1}"#, "wrong_type", Some("label"), "must be a string, not a number");
        refused(r#"{"input":["a"]}"#, "wrong_type", Some("input"), "not an array");
        refused(r#"{"input":"a","input":"b"}"#, "duplicate_field", Some("input"), "twice");
        refused(r#"{"input":"a","lable":"b"}"#, "unknown_field", Some("lable"), "did you mean \"label\"?");
        refused(r#"{"messages":[]}"#, "unknown_field", Some("messages"), "id, input, label");
        refused(r#"{"input":"a\u0000b"}"#, "invalid_character", Some("input"), "U+0000");
        refused(
            &format!(r#"{{"input":{}1{}}}"#, "[".repeat(9999), "]".repeat(9999)),
            "invalid_json",
            None,
            "recursion",
        );
    }
}
