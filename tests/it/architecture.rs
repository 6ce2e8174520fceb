//! The house: which room may use which, and where each external crate may be named (ARCHITECTURE.md holds the table).

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Room → rooms it may use. `cli` and `main` may use everything.
const ROOMS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("catalogue", &[]),
    ("clock", &[]),
    ("shutdown", &[]),
    ("telemetry", &[]),
    ("task", &["domain"]),
    ("store", &["domain", "clock"]),
    ("artifacts", &["domain"]),
    ("postgres", &[]),
    ("outbound", &[]),
    ("teacher", &["domain", "task", "clock", "outbound", "shutdown", "telemetry"]),
    ("hub", &["domain", "layout", "clock", "outbound"]),
    ("device", &["domain", "native"]),
    ("layout", &[]),
    ("machine", &[]),
    ("native", &[]),
    ("student", &["domain", "device", "layout", "native"]),
    ("trainer", &["domain", "task", "student", "device", "machine", "native"]),
    ("inference", &["domain", "layout", "artifacts", "student", "device"]),
    ("registry", &["domain", "layout", "hub", "store", "artifacts"]),
    ("export", &["domain", "layout"]),
    ("survey", &["domain", "artifacts", "task"]),
    ("tidy", &["artifacts", "registry", "inference", "survey"]),
    ("leakage", &["domain", "store", "artifacts", "registry", "survey"]),
    ("report", &["domain", "store", "task"]),
    (
        "worker",
        &[
            "domain",
            "clock",
            "store",
            "artifacts",
            "task",
            "outbound",
            "hub",
            "teacher",
            "inference",
            "registry",
            "survey",
            "leakage",
            "tidy",
            "report",
            "shutdown",
            "telemetry",
        ],
    ),
    (
        "api",
        &[
            "domain",
            "machine",
            "layout",
            "clock",
            "store",
            "artifacts",
            "inference",
            "task",
            "registry",
            "survey",
            "leakage",
            "tidy",
            "report",
            "export",
            "shutdown",
            "telemetry",
        ],
    ),
    ("config", &["domain", "task", "teacher", "telemetry"]),
];

/// External crate → rooms that may name it.
const CRATES: &[(&str, &[&str])] = &[
    ("sqlx", &["store", "postgres"]),
    ("axum", &["api", "teacher"]),
    ("tower_http", &["api"]),
    ("hyper", &["api"]),
    ("hyper_util", &["api"]),
    ("tokio_io_timeout", &["api"]),
    ("utoipa_axum", &["api"]),
    ("reqwest", &["outbound", "teacher", "hub", "cli"]),
    ("tch", &["student", "trainer", "inference", "device", "native"]),
    ("object_store", &["artifacts"]),
    ("tokenizers", &["student"]),
    ("clap", &["cli", "config"]),
    ("prometheus", &["api", "inference"]),
    ("statrs", &["task"]),
    ("tokio_tar", &["export"]),
];

/// Every source file with its room.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
                let room = first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
                let text = fs::read_to_string(&path).unwrap();
                found.push((room, path, text));
            }
        }
    }
    found
}

/// The lines before a file's own tests, without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let production = text.split("#[cfg(test)]").next().unwrap_or_default();
    production.lines().map(str::trim).filter(|line| !line.starts_with("//"))
}

/// Rooms that a file names: `crate::room` alone or in a braced import.
fn rooms_used(text: &str) -> Vec<String> {
    let flat = code(text).collect::<Vec<_>>().join(" ");
    let mut used = Vec::new();
    for (at, _) in flat.match_indices("crate::") {
        let rest = &flat[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => used.extend(top_level_names(group)),
            None => used.push(first_name(rest)),
        }
    }
    used
}

/// The first segment of each item of `a::b, c::{d, e}, f}`.
fn top_level_names(group: &str) -> Vec<String> {
    let (mut depth, mut item, mut items) = (0, String::new(), Vec::new());
    for letter in group.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(std::mem::take(&mut item)),
            _ => {}
        }
        if letter != ',' || depth > 0 {
            item.push(letter);
        }
    }
    items.push(item);
    items.iter().map(|item| first_name(item.trim())).filter(|name| !name.is_empty()).collect()
}

fn first_name(path: &str) -> String {
    path.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

#[test]
fn rooms_use_only_the_rooms_they_may() {
    let allowed: BTreeMap<_, _> = ROOMS.iter().copied().collect();
    let mut faults = Vec::new();
    for (room, path, text) in sources() {
        let Some(allowed) = allowed.get(room.as_str()) else { continue };
        for used in rooms_used(&text) {
            let known = ROOMS.iter().any(|(name, _)| *name == used) || used == "cli";
            if known && used != room && !allowed.contains(&used.as_str()) {
                faults.push(format!("{} uses {used}; {room} may use {allowed:?}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_room_is_in_the_table() {
    for (room, path, _) in sources() {
        let known = ROOMS.iter().any(|(name, _)| *name == room) || ["cli", "main", "lib"].contains(&room.as_str());
        assert!(known, "{} belongs to no room of the table", path.display());
    }
}

#[test]
fn external_crates_keep_to_their_rooms() {
    let mut faults = Vec::new();
    for (room, path, text) in sources() {
        for (name, rooms) in CRATES {
            let named = code(&text).any(|line| names_crate(line, name));
            if named && !rooms.contains(&room.as_str()) {
                faults.push(format!("{} names {name}, which belongs to {rooms:?}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// `name::` that is not the tail of a longer path or word.
fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':')
    })
}

#[test]
fn every_file_says_what_it_is_for() {
    for (_, path, text) in sources() {
        assert!(text.starts_with("//!"), "{} does not open with //!", path.display());
    }
}

#[test]
fn the_reader_of_imports_sees_through_braces() {
    let text =
        "use crate::{\n    domain::{Job, Lease},\n    store::Store,\n};\nuse crate::task::lines;\n// crate::api\n";
    assert_eq!(rooms_used(text), ["domain", "store", "task"]);
}
