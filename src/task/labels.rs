//! Which labels an answer may have, and how a nearly right one is read.

use std::borrow::Cow;

use crate::domain::{LabelSet, TaskDefinition};

/// Characters of a label of a set, at most: a set is what an answer is chosen from, and a student weighs every label of it.
pub const MAX_LABEL_CHARS: usize = 500;
/// Labels that a refusal lists.
const SHOWN_LABELS: usize = 10;
/// Characters of a label that a message shows.
const SHOWN_CHARS: usize = 80;

/// The labels that an answer to `input` may have, in the task's order; `None` where any text will do.
pub fn allowed_labels<'a>(task: &'a TaskDefinition, input: &str) -> Option<Cow<'a, [String]>> {
    match &task.label_set {
        LabelSet::Open => None,
        LabelSet::Fixed(labels) => Some(Cow::Borrowed(labels)),
        LabelSet::Choices => listed_choices(task, input).map(Cow::Owned),
    }
}

/// The choices that `input` itself lists, where the task is to choose among them.
pub fn listed_choices(task: &TaskDefinition, input: &str) -> Option<Vec<String>> {
    let choices = if task.label_set == LabelSet::Choices { choices(input) } else { Vec::new() };
    (!choices.is_empty()).then_some(choices)
}

/// Why `label` is not one that the task allows for `input`; `None` where it is.
pub fn refusal(task: &TaskDefinition, input: &str, label: &str) -> Option<String> {
    let allowed = allowed_labels(task, input)?;
    let found = allowed.iter().any(|allowed| allowed == label);
    (!found).then(|| not_in_set(label, &allowed))
}

/// The member of `allowed` that `text` means: equal, or equal but for case, quotes, stars and a final stop.
pub(super) fn read_as(text: &str, allowed: &[String]) -> Option<String> {
    let plain = bare(text);
    let exact = allowed.iter().find(|label| label.as_str() == text.trim());
    exact.or_else(|| allowed.iter().find(|label| bare(label) == plain)).cloned()
}

/// The choice that `text` means, by its letter, its text or both: `(c) pond`, `(c)`, `c`, `pond`. A letter beside another
/// choice's text is no answer: nobody knows which of the two was meant.
pub(super) fn read_as_choice(text: &str, input: &str) -> Option<String> {
    let plain = bare(text);
    let lettered = plain.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let (letter, own) = lettered.unwrap_or((&plain, ""));
    let is_meant = |known: char, text: &str| {
        bare(&known.to_string()) == letter.trim() && (own.is_empty() || bare(text) == own.trim())
    };
    read_as(text, &choices(input)).or_else(|| {
        let found = lettered_choices(input).find(|(known, text)| is_meant(*known, text));
        found.map(|(_, text)| text.to_owned())
    })
}

/// Whether a label that was cut off may have been another, longer one.
pub(super) fn may_go_on(task: &TaskDefinition, input: &str, label: &str) -> bool {
    let is_longer = |other: &String| other.len() > label.len() && bare(other).starts_with(&bare(label));
    allowed_labels(task, input).is_none_or(|allowed| allowed.iter().any(is_longer))
}

/// Why a label is refused, in few words however large the set is.
pub fn not_in_set(label: &str, allowed: &[String]) -> String {
    let listed: Vec<&str> = allowed.iter().take(SHOWN_LABELS).map(|label| shown(label)).collect();
    let others = if allowed.len() > SHOWN_LABELS { format!(", … ({} in all)", allowed.len()) } else { String::new() };
    format!("label {:?} is not one of: {}{others}", shown(label), listed.join(", "))
}

/// A label as messages show it: its first 80 characters.
pub fn shown(label: &str) -> &str {
    let end = label.char_indices().nth(SHOWN_CHARS).map_or(label.len(), |(place, _)| place);
    &label[..end]
}

/// The texts of CommonsenseQA's choices, `(a) …` to `(e) …`, each on its own line.
pub(super) fn choices(input: &str) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for (_, text) in lettered_choices(input) {
        if !texts.iter().any(|known| known == text) {
            texts.push(text.to_owned());
        }
    }
    texts
}

/// Each choice's letter and text.
pub(super) fn lettered_choices(input: &str) -> impl Iterator<Item = (char, &str)> {
    input.lines().filter_map(|line| {
        let mut head = line.trim_start().chars();
        let (Some('('), Some(letter), Some(')')) = (head.next(), head.next(), head.next()) else { return None };
        let text = head.as_str().trim();
        (letter.is_alphanumeric() && !text.is_empty()).then_some((letter, text))
    })
}

fn bare(text: &str) -> String {
    let wrapping = |c: char| c.is_whitespace() || matches!(c, '.' | '*' | '"' | '\'' | '`' | '“' | '”');
    text.trim_matches(wrapping).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::builtin;

    #[test]
    fn choices_are_read_from_the_input() {
        let task = builtin::find("cqa").unwrap();
        let input = "Where is it?\nAnswer Choices:\n(a) go (far) away\n(b) zoo\n(c) zoo";
        assert_eq!(allowed_labels(&task, input).unwrap().as_ref(), ["go (far) away", "zoo"]);
        assert_eq!(allowed_labels(&task, "no choices"), None);
    }

    #[test]
    fn a_label_outside_the_set_is_refused_by_name() {
        let task = builtin::find("esnli").unwrap();
        assert_eq!(refusal(&task, "", "neutral"), None);
        let reason = refusal(&task, "", "maybe").unwrap();
        assert_eq!(reason, r#"label "maybe" is not one of: entailment, neutral, contradiction"#);
    }

    #[test]
    fn a_refusal_is_short_however_large_the_set_is() {
        let allowed: Vec<String> = (0..1000).map(|number| format!("{number}{}", "x".repeat(1000))).collect();
        let reason = not_in_set(&"y".repeat(1_000_000), &allowed);
        assert!(reason.ends_with(", … (1000 in all)") && reason.len() < 1100, "{reason}");
    }

    #[test]
    fn case_and_wrapping_do_not_matter() {
        let allowed = vec!["Yes".to_owned(), "yes.".to_owned(), "no".to_owned()];
        assert_eq!(read_as("yes.", &allowed).as_deref(), Some("yes."));
        assert_eq!(read_as(" **NO** ", &allowed).as_deref(), Some("no"));
        assert_eq!(read_as("no way", &allowed), None);
    }
}
