//! Every stable error code: where it shows, what causes it and what helps. `stepwise errors` prints it as `ERRORS.md`; a
//! test compares the table with the places in the sources that use a code, and every answer of the API tests with it.

mod entries;

use std::{fmt::Write, mem::discriminant};

pub use entries::ENTRIES;

/// Where a code shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// In an HTTP answer of this status: `error.code` and `errors[].code`.
    Request(u16),
    /// In one item of a prediction that is otherwise answered: `data[].error.code`.
    Item,
    /// In an upload's `validation.errors[].code`.
    Line,
    /// In a job's `error.code`, and in its events.
    Job,
}

/// One error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where it shows.
    pub place: Place,
    /// The stable name to branch on.
    pub code: &'static str,
    /// What causes it.
    pub cause: &'static str,
    /// What helps.
    pub remedy: &'static str,
}

/// Whether a request's error of this status may have this code.
pub fn knows(place: Place, code: &str) -> bool {
    ENTRIES.iter().any(|entry| entry.place == place && entry.code == code)
}

/// The catalogue as a page.
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    let sections = [
        ("Requests: `error.code`, `errors[].code`", Place::Request(0)),
        ("Predictions: `data[].error.code`", Place::Item),
        ("Lines of a file: `validation.errors[].code`", Place::Line),
        ("Jobs: `error.code`", Place::Job),
    ];
    for (title, like) in sections {
        let requests = matches!(like, Place::Request(_));
        let status = if requests { " status |" } else { "" };
        let rule = if requests { "---|" } else { "" };
        let _ = write!(page, "\n## {title}\n\n| code |{status} cause | remedy |\n|---|{rule}---|---|\n");
        let mut entries: Vec<_> =
            ENTRIES.iter().filter(|entry| discriminant(&entry.place) == discriminant(&like)).collect();
        entries.sort_by_key(|entry| (entry.code, entry.place));
        for Entry { place, code, cause, remedy } in entries {
            let status = if let Place::Request(status) = place { format!(" {status} |") } else { String::new() };
            let _ = writeln!(page, "| `{code}` |{status} {cause} | {remedy} |");
        }
    }
    page
}

const HEAD: &str = "# Errors

Made by `stepwise errors` from the program's own table; do not edit.

Every error of the API is `application/problem+json` (RFC 9457) with OpenAI's `error` member. Branch on `error.code`; `detail`
names the thing at fault and what would be right, `errors[]` every field with its JSON pointer and, for files, the line.
`request_id` finds the cause in the service's log. `retry-after` and `x-should-retry` say whether the same request can succeed.
";
