//! One line's fields: which there are, what they may hold, and the example that they make. A line has one of four forms:
//! `input`, `premise` and `hypothesis`, `prompt` and `completion`, or `messages` (which `chat` reads).

use serde_json::Value;

use super::{
    chat,
    faults::{Fault, not_members, storable, unknown, wrong_type},
    lists,
    members::{Member, Members},
};
use crate::domain::{AnnotationStatus, Example, Split, UnknownName};

/// Every field that a line may have. The last eight are those of an annotation's files, which are files of examples
/// themselves.
const FIELDS: [&str; 22] = [
    "id",
    "input",
    "label",
    "teacher_label",
    "rationale",
    "rationales",
    "premise",
    "hypothesis",
    "prompt",
    "completion",
    "messages",
    "split",
    "label_set",
    "weight",
    "status",
    "agreement",
    "samples",
    "repaired",
    "rationalized",
    "rationale_faults",
    "reason",
    "raw_output",
];
/// Fields of `FIELDS` that say nothing about the example.
const UNREAD: [&str; 7] =
    ["agreement", "samples", "repaired", "rationalized", "rationale_faults", "reason", "raw_output"];
/// Fields of lines that rank two answers.
const PREFERENCES: [&str; 4] = ["preferred_output", "non_preferred_output", "chosen", "rejected"];
/// The example of line `number`, whose text this is.
pub(super) fn read(text: &str, number: u64) -> Result<Example, Fault> {
    let Members(members) = match serde_json::from_str(text) {
        Ok(members) => members,
        Err(error) => return Err(not_members(text, &error)),
    };
    if let Some(Member { name, .. }) = members.iter().find(|member| PREFERENCES.contains(&member.name.as_str())) {
        let message = "a line that ranks two answers is not supported; send the better one as its label".to_owned();
        return Err(Fault::field("unsupported_format", name, message));
    }
    let mut line = Line::default();
    for member in members {
        line.take(member)?;
    }
    line.into_example(number)
}

#[derive(Default)]
struct Line {
    texts: Vec<(&'static str, String)>,
    /// Every field.
    seen: Vec<&'static str>,
    /// Those that are not null: a table of mixed forms has the columns of every form in every line.
    given: Vec<&'static str>,
    chat: Option<chat::Exchange>,
    split: Option<Split>,
    rationales: Vec<String>,
    label_set: Option<Vec<String>>,
    /// The annotation did not end in a valid answer, so its teacher's label is none.
    not_valid: bool,
    /// Its weight is 0: nothing is learned from it.
    weightless: bool,
}

impl Line {
    fn take(&mut self, Member { name, value, repeated }: Member) -> Result<(), Fault> {
        let Some(field) = FIELDS.into_iter().find(|field| *field == name) else { return Err(unknown(&name, &FIELDS)) };
        if self.seen.contains(&field) {
            return Err(Fault::field("duplicate_field", field, format!("{field:?} comes twice in the line")));
        }
        if let Some(path) = repeated {
            let field = format!("{field}{path}");
            return Err(Fault::field("duplicate_field", &field, format!("{field:?} comes twice in its object")));
        }
        self.seen.push(field);
        if !value.is_null() {
            self.given.push(field);
        }
        match (field, value) {
            (_, Value::Null) => Ok(()),
            (field, _) if UNREAD.contains(&field) => Ok(()),
            ("status", Value::String(status)) => self.take_status(&status),
            ("split", Value::String(split)) => self.take_split(&split),
            ("label_set", Value::Array(labels)) => {
                self.label_set = Some(lists::label_set(labels)?);
                Ok(())
            }
            ("rationales", Value::Array(rationales)) => {
                self.rationales = lists::rationales(rationales)?;
                Ok(())
            }
            ("weight", value) => self.take_weight(&value),
            ("messages", Value::Array(messages)) => {
                self.chat = Some(chat::read(messages)?);
                Ok(())
            }
            ("label_set" | "messages" | "rationales", other) => Err(wrong_type(field, "an array", &other)),
            (_, Value::String(text)) => self.take_text(field, text),
            (_, other) => Err(wrong_type(field, "a string", &other)),
        }
    }

    fn take_status(&mut self, status: &str) -> Result<(), Fault> {
        let status: AnnotationStatus =
            status.parse().map_err(|error: UnknownName| Fault::field("wrong_type", "status", error.to_string()))?;
        self.not_valid = status != AnnotationStatus::Valid;
        Ok(())
    }

    fn take_split(&mut self, split: &str) -> Result<(), Fault> {
        self.split = Some(split.parse().map_err(|message| Fault::field("wrong_type", "split", message))?);
        Ok(())
    }

    /// Losses are not weighted by row, so a weight either takes a row's answer or leaves it.
    fn take_weight(&mut self, value: &Value) -> Result<(), Fault> {
        self.weightless = match value.as_f64() {
            Some(0.0) => true,
            Some(1.0) => false,
            Some(_) => {
                let message = "a weight is 0 (its answer is not learned) or 1".to_owned();
                return Err(Fault::field("unsupported_format", "weight", message));
            }
            None => return Err(wrong_type("weight", "a number", value)),
        };
        Ok(())
    }

    fn take_text(&mut self, field: &'static str, text: String) -> Result<(), Fault> {
        storable(field, &text)?;
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
        let mut example = self.answered_input()?;
        example.id = self.text("id").unwrap_or_else(|| format!("line-{number}"));
        example.teacher_label = self.text("teacher_label").filter(|_| !self.not_valid);
        example.split = self.split;
        std::mem::take(&mut self.rationales).into_iter().for_each(|rationale| example.add_rationale(rationale));
        if let Some(allowed) = &self.label_set {
            lists::check_labels(&example, allowed)?;
        }
        if self.weightless {
            let Example { id, input, split, .. } = example;
            return Ok(Example { id, input, split, ..Example::default() });
        }
        Ok(example)
    }

    /// The input, label and rationale, from whichever form the line has.
    fn answered_input(&mut self) -> Result<Example, Fault> {
        let forms = ["input", "premise", "hypothesis", "prompt", "messages"];
        let mut given = forms.into_iter().filter(|field| self.given.contains(field));
        match (given.next(), given.next()) {
            (Some("premise"), Some("hypothesis")) if given.next().is_none() => self.pair(),
            (Some("premise" | "hypothesis"), None) => self.pair(),
            (Some("prompt"), None) => self.completion(),
            (Some("messages"), None) => self.exchange(),
            (Some("input") | None, None) => self.native("input"),
            (first, _) => {
                let message = "a line has one of \"input\", \"premise\" and \"hypothesis\", \"prompt\" and \
                    \"completion\", or \"messages\", not several of them";
                Err(Fault::field("conflicting_fields", first.unwrap_or("input"), message.to_owned()))
            }
        }
    }

    fn native(&mut self, field: &'static str) -> Result<Example, Fault> {
        self.alone("completion", "prompt")?;
        let input = self.needed(field)?;
        Ok(Example { input, label: self.text("label"), rationale: self.text("rationale"), ..Example::default() })
    }

    /// The research code joins the two with T5's end-of-sequence token.
    fn pair(&mut self) -> Result<Example, Fault> {
        let hypothesis = self.needed("hypothesis");
        let premise = self.native("premise")?;
        Ok(Example { input: format!("{}</s>{}", premise.input, hypothesis?), ..premise })
    }

    /// Completions were told to begin with a space and to end with a line feed; a label has neither.
    fn completion(&mut self) -> Result<Example, Fault> {
        self.not_both("label", "completion")?;
        let (input, label) = (self.needed("prompt")?, self.text("completion"));
        let label = label.map(|label| label.trim().to_owned());
        Ok(Example { input, label, rationale: self.text("rationale"), ..Example::default() })
    }

    fn exchange(&mut self) -> Result<Example, Fault> {
        self.alone("completion", "prompt")?;
        self.not_both("label", "messages")?;
        let Some(chat) = self.chat.take() else { return self.needed("messages").map(|_| Example::default()) };
        if chat.rationale.is_some() {
            self.not_both("rationale", "messages")?;
        }
        let rationale = chat.rationale.or_else(|| self.text("rationale"));
        Ok(Example { input: chat.input, label: chat.label, rationale, ..Example::default() })
    }

    /// Refuses a field whose other half is not there.
    fn alone(&self, field: &'static str, other: &str) -> Result<(), Fault> {
        let fault = || Fault::field("conflicting_fields", field, format!("{field:?} goes with {other:?} only"));
        if self.given.contains(&field) { Err(fault()) } else { Ok(()) }
    }

    /// Refuses a field beside a form that brings the same.
    fn not_both(&self, field: &'static str, form: &str) -> Result<(), Fault> {
        let fault = || Fault::field("conflicting_fields", field, format!("{form:?} already holds the {field}"));
        if self.texts.iter().any(|(name, _)| *name == field) { Err(fault()) } else { Ok(()) }
    }

    fn needed(&mut self, field: &'static str) -> Result<String, Fault> {
        let code = if self.seen.contains(&field) { "empty" } else { "missing_field" };
        let message = if code == "empty" { format!("{field:?} is empty") } else { format!("the line lacks {field:?}") };
        self.text(field).ok_or_else(|| Fault::field(code, field, message))
    }
}

#[cfg(test)]
#[path = "fields_tests.rs"]
mod tests;
