//! The catalogue of errors against the sources that use their codes, and against the page that is committed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use axum::http::StatusCode;
use stepwise::catalogue::{ENTRIES, Place, knows, markdown};

/// Calls that make an error: the place of the code among their arguments, and where the code then shows.
const CALLS: [(&str, usize, Made); 14] = [
    ("ApiError::field(", 1, Made::For(Place::Request(400))),
    ("refusals.add(", 1, Made::For(Place::Request(400))),
    ("refusals.add_line(", 2, Made::For(Place::Request(400))),
    ("FieldError::new(", 1, Made::For(Place::Request(400))),
    ("conflict(", 0, Made::For(Place::Request(409))),
    ("unavailable(", 0, Made::For(Place::Request(503))),
    ("wire(", 2, Made::WithStatus(0)),
    ("Fault::field(", 0, Made::For(Place::Line)),
    ("Fault::line(", 0, Made::For(Place::Line)),
    ("late(", 1, Made::For(Place::Line)),
    ("JobError::new(", 0, Made::For(Place::Job)),
    ("TrainError::refused(", 0, Made::For(Place::Job)),
    ("error(", 0, Made::For(Place::Job)),
    // In SQL.
    ("jsonb_build_object('code',", 0, Made::For(Place::Job)),
];

/// Files with a `match` from a case to its code, and where the codes of each show.
const MATCHES: [(&str, Place); 3] =
    [("api/job_conflict.rs", Place::Request(409)), ("teacher/error.rs", Place::Job), ("hub/error.rs", Place::Job)];

/// Where a call's code shows.
#[derive(Clone, Copy)]
enum Made {
    For(Place),
    /// In an answer whose status is this argument of the call.
    WithStatus(usize),
}

impl Made {
    fn place(self, arguments: &[String]) -> Place {
        match self {
            Self::For(place) => place,
            Self::WithStatus(argument) => Place::Request(status(arguments[argument].trim())),
        }
    }
}

fn status(constant: &str) -> u16 {
    let name =
        constant.strip_prefix("StatusCode::").unwrap_or_else(|| panic!("{constant} is no constant of StatusCode"));
    let all = (100..600).filter_map(|number| StatusCode::from_u16(number).ok());
    let words = |status: &StatusCode| status.canonical_reason().unwrap_or_default().to_uppercase().replace(' ', "_");
    let found = all.into_iter().find(|status| words(status) == name);
    found.unwrap_or_else(|| panic!("no status is called {name}")).as_u16()
}

/// The rooms whose sources may hold the codes that show at a place, where a code is handed on by a variable.
fn rooms(place: Place) -> &'static [&'static str] {
    match place {
        Place::Request(_) => &["api/"],
        Place::Item => &["api/predictions.rs"],
        Place::Line => &["task/", "survey/"],
        Place::Job => &["worker/", "trainer/", "store/", "teacher/", "hub/", "domain/job.rs", "cli/train.rs"],
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() { found.extend(sources(&path)) } else { found.push(path) }
    }
    // The table itself; and the demo's teacher, which is another server with errors of its own.
    found.retain(|path| {
        let other =
            path.components().any(|part| ["catalogue", "scripted"].iter().any(|name| part.as_os_str() == *name));
        path.extension().is_some_and(|extension| extension == "rs") && !other
    });
    found
}

/// The sources without their tests, by their path below `src/`.
fn texts() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        (path, text.split("#[cfg(test)]").next().unwrap().to_owned())
    };
    let is_test = |path: &PathBuf| path.to_string_lossy().ends_with("_tests.rs");
    sources(&root).into_iter().filter(|path| !is_test(path)).map(read).collect()
}

/// The arguments of a call whose text begins after its opening parenthesis.
fn arguments(text: &str) -> Vec<String> {
    let (mut found, mut depth, mut quoted, mut escaped) = (vec![String::new()], 0, false, false);
    for letter in text.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted && depth == 0 => break,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                found.push(String::new());
                continue;
            }
            _ => {}
        }
        found.last_mut().unwrap().push(letter);
    }
    found
}

fn code_literal(argument: &str) -> Option<String> {
    let argument = argument.trim().trim_end_matches(".to_owned()");
    let quoted = |mark: char| argument.strip_prefix(mark)?.strip_suffix(mark);
    let code = quoted('"').or_else(|| quoted('\''))?;
    (!code.is_empty() && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')).then(|| code.to_owned())
}

/// Every code that a source makes in a form that says where it shows, with one such source.
fn made() -> BTreeMap<(Place, String), String> {
    let mut found = BTreeMap::new();
    for (path, text) in texts() {
        for (call, argument, made) in CALLS {
            for (at, _) in text.match_indices(call) {
                // Another name that ends alike, or a method; not `..conflict(`.
                let before = text[..at].strip_suffix("..").unwrap_or(&text[..at]).chars().next_back();
                if before.is_some_and(|before| before.is_alphanumeric() || "_.".contains(before)) {
                    continue;
                }
                let arguments = arguments(&text[at + call.len()..]);
                if let Some(code) = arguments.get(argument).and_then(|argument| code_literal(argument)) {
                    found.insert((made.place(&arguments), code), path.clone());
                }
            }
        }
        for (_, place) in MATCHES.iter().filter(|(file, _)| *file == path) {
            let arms = text.lines().filter_map(|line| code_literal(line.rsplit_once("=> ")?.1.trim_end_matches(',')));
            found.extend(arms.map(|code| ((*place, code), path.clone())));
        }
    }
    found
}

#[test]
fn every_code_in_the_sources_is_in_the_catalogue_under_its_place() {
    let made = made();
    let unknown: Vec<_> = made.iter().filter(|((place, code), _)| !knows(*place, code)).collect();
    assert!(unknown.is_empty(), "not in src/catalogue/entries.rs: {unknown:#?}");
    for place in [Place::Request(400), Place::Request(409), Place::Request(503), Place::Line, Place::Job] {
        assert!(made.keys().any(|(of, _)| *of == place), "no code was found for {place:?}: this test has gone blind");
    }
}

#[test]
fn every_code_of_the_catalogue_is_made_where_it_says_and_stands_there_once() {
    let (made, texts) = (made(), texts());
    let mut seen = BTreeSet::new();
    for entry in ENTRIES {
        // A status of its own is given by a call alone; what is handed on by a variable stands somewhere in the room.
        let by_call = made.contains_key(&(entry.place, entry.code.to_owned()));
        let literal = format!("\"{}\"", entry.code);
        let in_room = || {
            let in_rooms = |path: &str| rooms(entry.place).iter().any(|room| path.starts_with(room));
            texts.iter().any(|(path, text)| in_rooms(path) && text.contains(&literal))
        };
        let by_variable = !matches!(entry.place, Place::Request(status) if status != 400);
        assert!(by_call || by_variable && in_room(), "{:?} {} is made nowhere", entry.place, entry.code);
        assert!(seen.insert((entry.place, entry.code)), "{} stands there twice", entry.code);
        assert!(entry.cause.ends_with('.') && entry.remedy.ends_with('.'), "{}: write sentences", entry.code);
        assert!(!matches!(entry.place, Place::Request(status) if !(400..600).contains(&status)), "{}", entry.code);
    }
}

#[test]
fn the_page_is_what_the_table_says() {
    let committed = include_str!("../../ERRORS.md");
    assert!(committed == markdown(), "ERRORS.md is not current; regenerate it: make errors");
}
