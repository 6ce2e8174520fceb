//! What SECURITY.md says is there.

use std::{fs, path::Path};

const SECURITY: &str = include_str!("../../SECURITY.md");

#[test]
fn every_threat_names_its_test_or_says_that_it_is_open() {
    let rows: Vec<Vec<&str>> = SECURITY
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| threat"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    assert!(rows.len() >= 25, "{} threats", rows.len());
    for row in rows {
        let [threat, _, proof] = row[..] else { panic!("{row:?} has not three columns") };
        let mut words = proof.split('`').skip(1).step_by(2);
        let mut named = 0;
        while let Some(file) = words.next().filter(|word| *word != "make check") {
            let function = words.next().unwrap_or_else(|| panic!("{threat}: {file} without a function"));
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{threat}: {file}: {error}"));
            assert!(text.contains(&format!("fn {function}(")), "{threat}: {file} has no {function}");
            named += 1;
        }
        assert!(named > 0 || ["Open", "–", "`make check`"].contains(&proof), "{threat} is proved by {proof:?}");
    }
}
