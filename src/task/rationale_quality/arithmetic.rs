//! Rationales of labels that are arithmetic: what they come to, and the numbers that they name.

use crate::task::arithmetic::{evaluate, same_value};

/// Whether the last result that is written in the rationale is another value than the label's. The sign does not count:
/// `36 - 68 = -32, so 32 more` is no contradiction of 68 - 36.
pub(super) fn contradicts(label: &str, rationale: &str) -> bool {
    let (Some(value), Some((result, precision))) = (evaluate(label), last_result(rationale)) else { return false };
    let (value, result) = (value.abs(), result.abs());
    !same_value(value, result) && (value - result).abs() >= precision
}

/// Whether any number of the label stands in the rationale.
pub(super) fn names_a_number(label: &str, rationale: &str) -> bool {
    let known: Vec<f64> = numbers(rationale).collect();
    numbers(label).any(|number| known.iter().any(|known| same_value(*known, number)))
}

/// The number after the last `=` that follows a number, and how far it may be off: a unit of its last written place, as
/// results are rounded. `16 * x = 1216` states no result.
fn last_result(text: &str) -> Option<(f64, f64)> {
    let results = text.rmatch_indices('=').filter(|(place, _)| {
        let before = text[..*place].trim_end().chars().next_back();
        before.is_some_and(|last| last.is_ascii_digit() || last == ')')
    });
    results.into_iter().find_map(|(place, _)| leading_number(&text[place + 1..]))
}

fn leading_number(text: &str) -> Option<(f64, f64)> {
    let text = text.trim_start_matches([' ', '$', '€', '£']);
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest.trim_start()));
    let end = digits.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ',')).unwrap_or(digits.len());
    let number = number(&digits[..end])?;
    let places = digits[..end].trim_end_matches(['.', ',']).split_once('.').map_or(0, |(_, places)| places.len());
    let precision = if places == 0 { 0.0 } else { 10f64.powi(-i32::try_from(places).ok()?) };
    Some((if negative { -number } else { number }, precision))
}

fn numbers(text: &str) -> impl Iterator<Item = f64> {
    text.split(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ',')).filter_map(number)
}

/// `1,216.50` with or without a stop of the sentence behind it.
fn number(text: &str) -> Option<f64> {
    let plain = text.trim_matches(['.', ',']).replace(',', "");
    if plain.is_empty() { None } else { plain.parse().ok() }
}
