//! The label alone on the first line, then the reasoning.

use super::{Parts, emphasis::Marked, rationale_first::in_parentheses};
use crate::domain::SurfaceForm;
use crate::task::prompt::REASONING;

/// What chat models repeat from the prompt before they answer.
const HEADINGS: [&str; 2] = ["Answer:", "A:"];

/// The label, and the reasoning where there is any: behind its mark, or else on the lines below the label.
pub(super) fn read(form: SurfaceForm, text: &str) -> Parts {
    let text = text.trim_start();
    let heading = HEADINGS.into_iter().filter_map(|heading| Marked::at(text, heading));
    let heading = heading.into_iter().find(Marked::leads);
    let text = heading.map_or(text, |marked| marked.after.trim_start());
    let (label, rationale) = match Marked::at(text, REASONING) {
        Some(marked) => (first_line(marked.before).0, marked.undressed(marked.after)),
        None => first_line(text),
    };
    let label = heading.unwrap_or_default().undressed(label);
    // `(84 / 2) = 42` is the equation and what nobody asked for.
    let equation = if form == SurfaceForm::Svamp { in_parentheses(label) } else { None };
    Parts {
        rationale: rationale.trim().to_owned(),
        label: Some(equation.unwrap_or(label).to_owned()),
        // What follows it is asked for: an answer that was cut off lacks it.
        is_label_whole: true,
    }
}

fn first_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}
