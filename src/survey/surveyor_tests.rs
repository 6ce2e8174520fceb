//! Whole files, good and odd, and what is found in them.

use super::*;
use crate::domain::{FileStatistics, Split};

fn survey(file: impl AsRef<[u8]>) -> Validation {
    survey_in_pieces(file.as_ref(), usize::MAX)
}

fn survey_in_pieces(file: &[u8], size: usize) -> Validation {
    let folder = tempfile::tempdir().unwrap();
    let mut surveyor = Surveyor::new(folder.path());
    file.chunks(size.min(file.len()).max(1)).for_each(|piece| surveyor.push(piece).unwrap());
    surveyor.finish().unwrap().validation
}

fn statistics(file: &str) -> FileStatistics {
    survey(file).statistics.unwrap()
}

fn codes(found: &Validation) -> Vec<(u64, &str)> {
    found.errors.iter().map(|error| (error.line, error.code.as_str())).collect()
}

#[test]
fn rows_are_counted_by_what_they_hold() {
    let found = survey(concat!(
        "{\"input\":\"a\",\"label\":\"x\"}\n",
        "{\"input\":\"b\",\"teacher_label\":\"x\",\"rationale\":\"r\"}\n",
        "\n",
        "{\"inputs\":\"c\"}\n",
    ));
    assert_eq!((found.rows, found.valid_rows, found.labeled_rows), (3, 2, 1));
    assert_eq!((found.teacher_labeled_rows, found.rationale_rows), (1, 1));
    assert_eq!(codes(&found), [(4, "unknown_field")]);
    assert_eq!(found.error_counts["unknown_field"], 1);
}

#[test]
fn forms_may_be_mixed() {
    let found = survey(concat!(
        "{\"input\":\"a\",\"label\":\"x\"}\n",
        "{\"premise\":\"b\",\"hypothesis\":\"c\",\"label\":\"x\"}\n",
        "{\"prompt\":\"d\",\"completion\":\" y\\n\"}\n",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"e\"},{\"role\":\"assistant\",\"content\":\"<think>r</think>x\"}]}\n",
    ));
    assert_eq!((found.valid_rows, found.labeled_rows, found.rationale_rows), (4, 4, 1), "{found:?}");
    let top: Vec<_> = found.statistics.unwrap().labels.top.into_iter().map(|label| (label.label, label.rows)).collect();
    assert_eq!(top, [("x".to_owned(), 3), ("y".to_owned(), 1)]);
}

#[test]
fn a_file_without_lines_is_an_error() {
    for file in ["", "\n\r\n", "\u{feff}", "\u{feff}\n"] {
        let found = survey(file);
        assert_eq!((found.rows, codes(&found)), (0, vec![(1, "empty")]), "{file:?}");
    }
}

#[test]
fn an_id_used_twice_is_an_error_also_where_it_was_given_by_the_line() {
    let found = survey("{\"id\":\"line-2\",\"input\":\"a\"}\n{\"input\":\"b\"}\n");
    assert_eq!((codes(&found), found.valid_rows), (vec![(2, "duplicate_id")], 1));
    assert!(found.errors[0].message.starts_with("line 1 has the same id"), "{:?}", found.errors[0]);
}

#[test]
fn all_errors_are_counted_and_the_first_hundred_are_listed() {
    let mut file = "{}\n".repeat(101);
    file.push_str(&"{\"id\":\"same\",\"input\":\"a\"}\n".repeat(5));
    let found = survey(file);
    assert_eq!((found.rows, found.valid_rows, found.errors.len(), found.errors_truncated), (106, 1, 100, true));
    assert_eq!((found.error_counts["missing_field"], found.error_counts["duplicate_id"]), (101, 4));
}

#[test]
fn inputs_that_come_again_are_counted() {
    let found = statistics(concat!(
        "{\"input\":\"a\",\"label\":\"x\"}\n",
        "{\"input\":\"b\",\"label\":\"x\"}\n",
        "{\"input\":\"a\"}\n",
        "{\"input\":\"a\",\"label\":\"y\"}\n",
        "{\"input\":\"a\",\"label\":\"z\"}\n",
        "{\"input\":\"b\",\"label\":\"x\"}\n",
    ));
    assert_eq!((found.duplicate_rows, found.conflicting_inputs), (4, 1));
}

#[test]
fn an_input_under_two_splits_is_a_leak() {
    let line = |input: &str, split: &str| format!("{{\"input\":\"{input}\",\"split\":{split}}}\n");
    let file = line("a", "\"train\"")
        + &line("a", "null")
        + &line("b", "\"test\"")
        + &line("a", "\"test\"")
        + &line("a", "\"train\"");
    let found = survey(file);
    assert_eq!((codes(&found), found.valid_rows), (vec![(4, "split_leak")], 4));
    assert!(found.errors[0].message.contains("line 1 has the same input under the split \"train\""));
    let splits = found.statistics.unwrap().splits;
    assert_eq!((splits.none, splits.train, splits.validation, splits.test), (1, 2, 0, 2));
}

#[test]
fn a_row_at_odds_with_an_earlier_one_can_be_read_and_is_described() {
    let row = |split: &str| format!("{{\"id\":\"1\",\"input\":\"a\",\"label\":\"x\",\"split\":\"{split}\"}}\n");
    let found = survey(row("train") + &row("test") + "{\"inputs\":\"unreadable\",\"label\":\"x\"}\n");
    assert_eq!((found.rows, found.valid_rows, found.labeled_rows), (3, 1, 2));
    let statistics = found.statistics.unwrap();
    assert_eq!((statistics.input.rows, statistics.labels.top[0].rows, statistics.splits.of(&[Split::Test])), (2, 2, 1));
}

#[test]
fn a_line_with_two_late_errors_is_one_bad_line() {
    let file =
        "{\"id\":\"1\",\"input\":\"a\",\"split\":\"train\"}\n{\"id\":\"1\",\"input\":\"a\",\"split\":\"test\"}\n";
    let found = survey(file);
    assert_eq!((found.rows, found.valid_rows, found.errors.len()), (2, 1, 2));
}

#[test]
fn odd_bytes_are_refused_line_by_line_however_they_arrive() {
    let mut file = "\u{feff}{\"input\":\"a\"}\r\n".as_bytes().to_vec();
    file.extend_from_slice(b"\xff\xfe\n{\"input\":\"\x00\"}\n{\"input\":\"\\u0000\"}\n\x00\n");
    file.extend_from_slice(format!("{{\"input\":{}{}}}\n", "[".repeat(500), "]".repeat(500)).as_bytes());
    file.extend_from_slice("{\"input\":\"\u{2028}b\"}\n\u{feff}{\"input\":\"c\"}\n{\"input\":\"d\"}".as_bytes());
    let expected = [
        (2, "invalid_utf8"),
        (3, "invalid_json"),
        (4, "invalid_character"),
        (5, "invalid_json"),
        (6, "invalid_json"),
        (8, "invalid_json"),
    ];
    for size in [1, 2, 3, 7, 64, usize::MAX] {
        let found = survey_in_pieces(&file, size);
        assert_eq!(codes(&found), expected, "{size}");
        assert_eq!((found.rows, found.valid_rows), (9, 3));
    }
}

#[test]
fn a_gigantic_line_is_one_error_and_shows_its_beginning() {
    let file = format!("{{\"input\":\"{}\"}}\n{{\"input\":\"b\"}}\n", "x".repeat(3 << 20));
    let found = survey_in_pieces(file.as_bytes(), 1 << 16);
    assert_eq!((codes(&found), found.valid_rows), (vec![(1, "too_long")], 1));
    assert_eq!(found.errors[0].snippet.chars().count(), 80);
}

#[test]
fn a_message_that_quotes_a_line_is_cut() {
    let found = survey(format!("{{\"input\":\"a\",\"split\":\"{}\"}}\n", "s".repeat(100_000)));
    assert_eq!(codes(&found), [(1, "wrong_type")]);
    assert!(found.errors[0].message.len() <= 500, "{}", found.errors[0].message.len());
}

#[test]
fn a_file_that_does_not_fit_into_memory_is_told_the_same() {
    let mut file = String::new();
    for number in 0..300_000 {
        file.push_str(&format!("{{\"input\":\"{}\",\"label\":\"{}\"}}\n", number % 150_000, number / 299_999));
    }
    file.push_str("{\"id\":\"line-7\",\"input\":\"x\"}\n");
    let found = survey_in_pieces(file.as_bytes(), 1 << 16);
    let statistics = found.statistics.as_ref().unwrap();
    assert_eq!((statistics.duplicate_rows, statistics.conflicting_inputs), (150_000, 1));
    assert_eq!((codes(&found), found.valid_rows), (vec![(300_001, "duplicate_id")], 300_000));
}
