//! The teacher's text, read: its rationale and its label. Each surface form is read by the research code's rules
//! (google-research/distilling-step-by-step), because their accuracies are what ours are compared with; what those rules
//! left in the training data (labels outside the set, equations without a value) is told apart here and not learned.

use super::{arithmetic, labels, prompt};
use crate::domain::{AnnotationStatus, LabelSet, Scorer, SurfaceForm, TaskDefinition};

/// What was read from a teacher's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedAnswer {
    /// What became of it. A valid answer has a label; its rationale may still be missing.
    pub status: AnnotationStatus,
    /// The label; one of the task's set where it has one.
    pub label: Option<String>,
    /// The reasoning before the label, where there is any.
    pub rationale: Option<String>,
    /// Why the answer is not valid.
    pub reason: Option<String>,
}

/// Reads the teacher's `text` about `input`. `truncated`: the teacher was cut off at its token limit.
pub fn parse(task: &TaskDefinition, input: &str, text: &str, truncated: bool) -> ParsedAnswer {
    let (own, run_on) = before_next_question(task.form, text);
    let (rationale, label) = read(task.form, own);
    let rationale = (!rationale.is_empty()).then(|| rationale.to_owned());
    match label.ok_or_else(|| no_label(task.form)).and_then(|label| checked(task, input, label)) {
        Ok(label) => ParsedAnswer { status: AnnotationStatus::Valid, label: Some(label), rationale, reason: None },
        Err(reason) => {
            let (status, reason) = why_not(own, truncated && !run_on, reason);
            ParsedAnswer { status, label: None, rationale: None, reason: Some(reason) }
        }
    }
}

/// The text up to the next question that the teacher invented, and whether there was one.
fn before_next_question(form: SurfaceForm, text: &str) -> (&str, bool) {
    let head = prompt::head(form);
    // The research code cuts at `Q:` and `Premise` anywhere. Own tasks may have `Input:` in a sentence.
    let cut = match form {
        SurfaceForm::Text => text.find(&format!("\n{head}")),
        _ => text.find(head),
    };
    cut.map_or((text, false), |cut| (&text[..cut], true))
}

/// The rationale, and the label where there is one, both trimmed.
fn read(form: SurfaceForm, text: &str) -> (&str, Option<&str>) {
    let (rationale, label) = match form {
        SurfaceForm::Text | SurfaceForm::Esnli => split_at(text, "Answer:"),
        SurfaceForm::Anli | SurfaceForm::Cqa => split_at(text, "So the answer is"),
        SurfaceForm::Svamp => split_at(text, "The answer is"),
    };
    let label = label.and_then(|label| match form {
        SurfaceForm::Text | SurfaceForm::Esnli => first_line(label),
        SurfaceForm::Anli => first_line(label).map(without_stop),
        SurfaceForm::Cqa => after_letter(label),
        SurfaceForm::Svamp => in_parentheses(label),
    });
    (without_heading(rationale.trim()), label.filter(|label| !label.is_empty()))
}

fn split_at<'a>(text: &'a str, mark: &str) -> (&'a str, Option<&'a str>) {
    text.split_once(mark).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn first_line(text: &str) -> Option<&str> {
    text.trim_start().lines().next().map(str::trim)
}

fn without_stop(label: &str) -> &str {
    label.strip_suffix('.').unwrap_or(label).trim_end()
}

/// `(c) wooded area.` without the letter and the stop; of several choices the research code takes what stands between
/// the first two, which no set has.
fn after_letter(text: &str) -> Option<&str> {
    let (_, rest) = split_at_letter(text)?;
    let own = split_at_letter(rest).map_or(rest, |(before, _)| before);
    Some(without_stop(own.trim()))
}

/// The text before and after the first `(x)`, where x is any one character.
fn split_at_letter(text: &str) -> Option<(&str, &str)> {
    text.match_indices('(').find_map(|(open, _)| {
        let mut inner = text[open + 1..].chars();
        let (Some(letter), Some(')')) = (inner.next(), inner.next()) else { return None };
        (letter != '\n').then(|| (&text[..open], inner.as_str()))
    })
}

/// From the first opening to the last closing parenthesis of a line, as the greedy `\(.*\)` finds it.
fn in_parentheses(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let open = line.find('(')?;
        let close = line.rfind(')').filter(|&close| close > open)?;
        Some(&line[open..=close])
    })
}

/// Chat models repeat the prompt's last word.
fn without_heading(rationale: &str) -> &str {
    let found = ["Reasonings:", "Reasoning:", "A:"].into_iter().find_map(|heading| rationale.strip_prefix(heading));
    found.map_or(rationale, str::trim_start)
}

/// The label as the task writes it, or why it is none of the task's.
fn checked(task: &TaskDefinition, input: &str, label: &str) -> Result<String, String> {
    if let Some(allowed) = labels::allowed_labels(task, input) {
        let found = match task.label_set {
            // Forgiving the case of `(c) Michigan` would raise the paper's teacher by a point above its published figure.
            LabelSet::Choices => allowed.iter().find(|allowed| allowed.as_str() == label).cloned(),
            LabelSet::Fixed(_) | LabelSet::Open => labels::read_as(label, &allowed),
        };
        return found.ok_or_else(|| labels::not_in_set(label, &allowed));
    }
    match task.scorer {
        Scorer::Arithmetic if arithmetic::evaluate(label).is_none() => {
            Err(format!("label {label:?} is not arithmetic that has a value"))
        }
        _ => Ok(label.to_owned()),
    }
}

fn no_label(form: SurfaceForm) -> String {
    let wanted = match form {
        SurfaceForm::Text | SurfaceForm::Esnli => "`Answer: ` and a label",
        SurfaceForm::Anli => "`So the answer is ` and a label",
        SurfaceForm::Cqa => "`So the answer is ` and a choice such as `(c) …`",
        SurfaceForm::Svamp => "`The answer is ` and an equation in parentheses",
    };
    format!("the text does not end in {wanted}")
}

fn why_not(text: &str, truncated: bool, reason: String) -> (AnnotationStatus, String) {
    if text.trim().is_empty() {
        return (AnnotationStatus::Invalid, "the text is empty".to_owned());
    }
    if truncated {
        return (AnnotationStatus::Truncated, "the text was cut off at the token limit before its label".to_owned());
    }
    if is_refusal(text) {
        return (AnnotationStatus::Refused, "the teacher declined to answer".to_owned());
    }
    (AnnotationStatus::Invalid, reason)
}

/// Only openings that no reasoning has: a wrong guess here hides an answer that did not parse.
fn is_refusal(text: &str) -> bool {
    let opening: String = text.trim_start().chars().take(40).collect::<String>().to_lowercase().replace('’', "'");
    ["i can't", "i cannot", "i'm sorry", "i am sorry", "sorry,", "i'm unable", "i am unable", "i won't", "as an ai"]
        .iter()
        .any(|start| opening.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::builtin;

    const CHOICES: &str = "Where?\nAnswer Choices:\n(a) zoo\n(b) New York\n(c) pond";

    fn read_by(name: &str, input: &str, text: &str) -> ParsedAnswer {
        parse(&builtin::find(name).unwrap(), input, text, false)
    }

    fn desk() -> TaskDefinition {
        let labels = ["refund", "exchange", "reject"].map(str::to_owned).to_vec();
        TaskDefinition { label_set: LabelSet::Fixed(labels), ..TaskDefinition::default() }
    }

    #[test]
    fn each_form_gives_its_rationale_and_label_and_drops_what_runs_on() {
        for (name, text, rationale, label) in [
            ("esnli", " It rains.\nAnswer: neutral\n\nPremise: A\nAnswer: entailment", "It rains.", "neutral"),
            ("esnli", "It rains.\nAnswer: entailment\n\nPre", "It rains.", "entailment"),
            ("anli", "It rains. So the answer is neutral.\n\nPremise: B. So the answer is x.", "It rains.", "neutral"),
            ("cqa", "Only NY. So the answer is (b) New York.\n\nQ: What?", "Only NY.", "New York"),
            ("anli", "It rains. So the answer is Neutral.", "It rains.", "neutral"),
            ("svamp", "So 2 + 3. The answer is (2 + 3).\n\nQ: There are", "So 2 + 3.", "(2 + 3)"),
            ("text", "Reasoning: because\nAnswer: blue sky\n\nInput: b\nAnswer: c", "because", "blue sky"),
        ] {
            let parsed = read_by(name, CHOICES, text);
            assert_eq!(parsed.status, AnnotationStatus::Valid, "{name}: {parsed:?}");
            assert_eq!((parsed.rationale.as_deref(), parsed.label.as_deref()), (Some(rationale), Some(label)));
        }
    }

    #[test]
    fn a_label_is_written_as_its_set_writes_it() {
        let parsed = parse(&desk(), "", "In time.\nAnswer: **Refund.**\n", false);
        assert_eq!(parsed.label.as_deref(), Some("refund"));
    }

    #[test]
    fn a_label_outside_the_set_is_invalid_and_the_reason_names_the_set() {
        let parsed = parse(&desk(), "", "In time.\nAnswer: store credit\n\nInput: x", false);
        assert_eq!((parsed.status, parsed.label), (AnnotationStatus::Invalid, None));
        assert_eq!(parsed.reason.unwrap(), r#"label "store credit" is not one of: refund, exchange, reject"#);
        let two = read_by("cqa", CHOICES, "Both. So the answer is either (a) zoo or (c) pond.");
        assert_eq!(two.status, AnnotationStatus::Invalid);
    }

    #[test]
    fn an_equation_without_a_value_is_invalid() {
        for text in ["The answer is (25 + x).", "The answer is 5.", "The answer is (8 / 4) and (6 / 4)."] {
            assert_eq!(read_by("svamp", "", text).status, AnnotationStatus::Invalid, "{text}");
        }
    }

    #[test]
    fn empty_refused_and_cut_off_answers_are_told_apart() {
        assert_eq!(parse(&desk(), "", " \n", false).reason.unwrap(), "the text is empty");
        assert_eq!(parse(&desk(), "", "I’m sorry, but I can't.", false).status, AnnotationStatus::Refused);
        assert_eq!(parse(&desk(), "", "The order is in", true).status, AnnotationStatus::Truncated);
        assert_eq!(parse(&desk(), "", "In time.\nAnswer: ref", true).status, AnnotationStatus::Truncated);
        assert_eq!(parse(&desk(), "", "In time.\n\nInput: x", true).status, AnnotationStatus::Invalid);
        assert_eq!(parse(&desk(), "", "In time.\nAnswer: reject\n\nInput: x", true).status, AnnotationStatus::Valid);
    }

    #[test]
    fn a_label_without_reasoning_is_valid_and_has_no_rationale() {
        let parsed = parse(&desk(), "", "Answer: reject", false);
        assert_eq!((parsed.status, parsed.rationale), (AnnotationStatus::Valid, None));
    }
}
