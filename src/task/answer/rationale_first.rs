//! Reasoning, then the label: the paper's order, read by the research code's rules (google-research/distilling-step-by-step),
//! because their accuracies are what ours are compared with.

use super::Parts;
use crate::domain::SurfaceForm;

/// The reasoning, and the label where there is one.
pub(super) fn read(form: SurfaceForm, text: &str) -> Parts {
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
    Parts { rationale: without_heading(rationale.trim()).to_owned(), label: label.map(str::to_owned) }
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
pub(super) fn in_parentheses(text: &str) -> Option<&str> {
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
