//! The catalogue of errors against the sources that use their codes, and against the page that is committed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use stepwise::catalogue::{ENTRIES, Place, markdown};

/// Calls that make an error, with the place of the code among their arguments.
const CALLS: [(&str, usize); 12] = [
    ("ApiError::field(", 1),
    ("refusals.add(", 1),
    ("refusals.add_line(", 2),
    ("FieldError::new(", 1),
    ("conflict(", 0),
    ("unavailable(", 0),
    ("wire(", 2),
    ("JobError::new(", 0),
    ("TrainError::refused(", 0),
    ("Fault::field(", 0),
    ("Fault::line(", 0),
    ("error(", 0),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() { found.extend(sources(&path)) } else { found.push(path) }
    }
    // The table itself; and the demo's teacher, which is another server with errors of its own.
    found.retain(|path| {
        !path.components().any(|part| ["catalogue", "scripted"].iter().any(|name| part.as_os_str() == *name))
    });
    found
}

/// The sources without their tests, by path.
fn texts() -> BTreeMap<PathBuf, String> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text.split("#[cfg(test)]").next().unwrap().to_owned())
    };
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).into_iter().map(read).collect()
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
    let code = argument.trim().strip_prefix('"')?.strip_suffix('"')?;
    (!code.is_empty() && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')).then(|| code.to_owned())
}

#[test]
fn every_code_in_the_sources_is_in_the_catalogue() {
    let known: BTreeSet<_> = ENTRIES.iter().map(|entry| entry.code).collect();
    let mut unknown = BTreeSet::new();
    for (path, text) in texts() {
        for (call, place) in CALLS {
            for (at, _) in text.match_indices(call) {
                let named = text[..at]
                    .chars()
                    .next_back()
                    .is_some_and(|before| before.is_alphanumeric() || "_.".contains(before));
                let code = arguments(&text[at + call.len()..]).get(place).and_then(|argument| code_literal(argument));
                if let (Some(code), false) = (code, named)
                    && !known.contains(code.as_str())
                {
                    unknown.insert(format!("{code} in {}", path.display()));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "not in src/catalogue/entries.rs: {unknown:#?}");
}

#[test]
fn every_code_of_the_catalogue_is_used_and_stands_there_once() {
    let all: String = texts().into_values().collect();
    let mut seen = BTreeSet::new();
    for entry in ENTRIES {
        let used = all.contains(&format!("\"{}\"", entry.code)) || all.contains(&format!("'{}'", entry.code));
        assert!(used, "{} is in the catalogue and nowhere else", entry.code);
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
