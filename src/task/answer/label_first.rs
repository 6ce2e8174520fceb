//! The label alone on the first line, then the reasoning.

use super::{Parts, rationale_first::in_parentheses};
use crate::domain::SurfaceForm;
use crate::task::prompt::REASONING;

/// What chat models repeat from the prompt before they answer, and how they print a heading.
const HEADINGS: [&str; 2] = ["Answer:", "A:"];
/// Bold type around a heading.
const STARS: [char; 3] = ['*', ' ', '\t'];

/// The label, and the reasoning where there is any: behind its mark, or else on the lines below the label.
pub(super) fn read(form: SurfaceForm, text: &str) -> Parts {
    let text = without_heading(text.trim_start());
    let (label, rationale) = match text.split_once(REASONING) {
        Some((before, after)) => (first_line(before).0, after.trim_start_matches(STARS)),
        None => first_line(text),
    };
    let label = label.trim();
    // `(84 / 2) = 42` is the equation and what nobody asked for.
    let equation = if form == SurfaceForm::Svamp { in_parentheses(label) } else { None };
    Parts { rationale: rationale.trim().to_owned(), label: Some(equation.unwrap_or(label).to_owned()) }
}

fn first_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

fn without_heading(text: &str) -> &str {
    let plain = text.trim_start_matches(STARS);
    let found = HEADINGS.into_iter().find_map(|heading| plain.strip_prefix(heading));
    found.map_or(text, |rest| rest.trim_start_matches(STARS).trim_start())
}
