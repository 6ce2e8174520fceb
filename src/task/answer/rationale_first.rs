//! Reasoning, then the label: the paper's order, read by the research code's rules (google-research/distilling-step-by-step),
//! because their accuracies are what ours are compared with.

use super::{
    Parts,
    emphasis::{Marked, closed, opened},
};
use crate::domain::SurfaceForm;

/// Headings of the reasoning that chat models repeat from the prompt.
const HEADINGS: [&str; 3] = ["Reasonings:", "Reasoning:", "A:"];

/// The reasoning, and the label where there is one.
pub(super) fn read(form: SurfaceForm, text: &str) -> Parts {
    let mark = match form {
        SurfaceForm::Text | SurfaceForm::Esnli => "Answer:",
        SurfaceForm::Anli | SurfaceForm::Cqa => "So the answer is",
        SurfaceForm::Svamp => "The answer is",
    };
    let Some(marked) = Marked::at(text, mark) else {
        return Parts { rationale: reasoning(text), ..Parts::default() };
    };
    let label = match form {
        SurfaceForm::Text | SurfaceForm::Esnli => first_line(marked.after).map(|line| marked.undressed(line)),
        SurfaceForm::Anli => first_line(marked.after).map(|line| without_stop(marked.undressed(line))),
        SurfaceForm::Cqa => after_letter(marked),
        SurfaceForm::Svamp => in_parentheses(marked.after),
    };
    Parts {
        rationale: reasoning(marked.before),
        label: label.map(str::to_owned),
        // A cut-off text may lack the end of its last line and no other.
        is_label_whole: marked.after.trim_start().contains('\n'),
    }
}

fn first_line(text: &str) -> Option<&str> {
    text.trim_start().lines().next().map(str::trim)
}

fn without_stop(label: &str) -> &str {
    label.strip_suffix('.').unwrap_or(label).trim_end()
}

/// `(c) wooded area.` without the letter and the stop; of several choices the research code takes what stands between
/// the first two, which no set has.
fn after_letter(marked: Marked<'_>) -> Option<&str> {
    let (before, rest) = split_at_letter(marked.after)?;
    let own = split_at_letter(rest).map_or(rest, |(before, _)| before);
    Some(without_stop(marked.undressed(closed(own, opened(before)))))
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

/// The reasoning without the prompt's last word, which chat models repeat.
fn reasoning(text: &str) -> String {
    let text = text.trim();
    let headings = HEADINGS.into_iter().filter_map(|heading| Marked::at(text, heading));
    let heading = headings.into_iter().find(Marked::leads);
    heading.map_or(text, |marked| marked.after.trim()).to_owned()
}
