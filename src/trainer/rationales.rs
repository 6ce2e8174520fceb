//! Which rationales of the training rows are learned: decided once, before anything is a token, from the rows and the seed
//! alone.

use std::collections::BTreeMap;

use super::TrainError;
use super::data::Row;
use super::faulty_rationales::FaultyRationales;
use super::randomness::{self, Draw};
use crate::domain::{AttemptSpec, Example, Method, RationaleFilter, RationaleShuffle, RationalesPerExample};
use crate::task::scoring;

/// Counted under this reason: the teacher's label is wrong, so its rationale is kept out.
pub const OF_WRONG_LABEL: &str = "rationale_of_wrong_label";
/// Counted under this reason: the row lacks one of the two labels, so nobody knows what its rationale is worth.
pub const UNVERIFIED: &str = "rationale_unverified";

/// The rows with the rationales that are to be learned, and how many rows lost theirs, by reason. That is no fault of theirs:
/// one that is learned for its rationale alone is left out, and not dropped. Rationales with a fault are counted one by one.
pub fn choose(spec: &AttemptSpec, examples: Vec<Example>) -> (Vec<Example>, BTreeMap<String, u64>) {
    let (mut kept, mut counts) = (Vec::with_capacity(examples.len()), BTreeMap::new());
    let mut faulty = FaultyRationales::of(spec);
    for mut example in examples {
        let had_rationales = example.rationale.is_some();
        if let Some(reason) = why_not(spec, &example) {
            *counts.entry(reason.to_owned()).or_default() += 1;
            (example.rationale, example.more_rationales) = (None, Vec::new());
        }
        faulty.leave_out(&mut example, &mut counts);
        if had_rationales && example.rationale.is_none() && spec.method == Method::RationaleThenLabel {
            continue;
        }
        if spec.rationales.per_example == RationalesPerExample::First {
            example.more_rationales.clear();
        }
        kept.push(example);
    }
    (kept, counts)
}

/// Why a row's rationales are not learned.
fn why_not(spec: &AttemptSpec, example: &Example) -> Option<&'static str> {
    let is_asked = spec.rationales.filter == RationaleFilter::CorrectOnly && spec.method != Method::Standard;
    if !is_asked || example.rationale.is_none() {
        return None;
    }
    match (&example.teacher_label, &example.label) {
        (Some(given), Some(truth)) if scoring::is_correct(&spec.task, given, truth) => None,
        (Some(_), Some(_)) => Some(OF_WRONG_LABEL),
        _ => Some(UNVERIFIED),
    }
}

/// What was kept out of every row cannot be learned: better said than counted.
pub fn refuse_if_none_is_left(spec: &AttemptSpec, examples: &[Example]) -> Result<(), TrainError> {
    if spec.method == Method::Standard || examples.iter().any(|example| example.rationale.is_some()) {
        return Ok(());
    }
    let (message, hint) = if spec.rationales.filter == RationaleFilter::CorrectOnly {
        (
            "no training row has a rationale that `rationales` lets through: rationales.filter is `correct_only`, which \
             wants a teacher_label that is right",
            "add ground truth to annotated rows, or leave rationales.filter out",
        )
    } else {
        (
            "no training row has a rationale that `rationales` lets through: every one has a fault of rationales.leave_out",
            "look at the rationales, or take faults out of rationales.leave_out",
        )
    };
    Err(TrainError::refused("missing_rationales", message, hint))
}

/// Takes the meaning out of rationales, or leaves it.
pub fn shuffle(rows: &mut [Row], how: RationaleShuffle, seed: u64) {
    match how {
        RationaleShuffle::None => {}
        RationaleShuffle::Words => shuffle_words(rows, seed),
        RationaleShuffle::Rows => exchange(rows, seed),
    }
}

fn shuffle_words(rows: &mut [Row], seed: u64) {
    let rationales = rows.iter_mut().flat_map(|row| &mut row.rationales);
    for (number, rationale) in (0..).zip(rationales) {
        let words: Vec<&str> = rationale.split_whitespace().collect();
        let order = randomness::order(words.len(), randomness::hash(seed, Draw::Words, number));
        *rationale = order.into_iter().map(|place| words[place]).collect::<Vec<_>>().join(" ");
    }
}

/// In an order that the seed draws, each row gets what the next one had: so none keeps its own.
fn exchange(rows: &mut [Row], seed: u64) {
    let mut with: Vec<&mut Row> = rows.iter_mut().filter(|row| !row.rationales.is_empty()).collect();
    let order = randomness::order(with.len(), randomness::hash(seed, Draw::Rows, 0));
    for pair in order.windows(2) {
        let [one, next] = [pair[0], pair[1]].map(|place| std::mem::take(&mut with[place].rationales));
        with[pair[0]].rationales = next;
        with[pair[1]].rationales = one;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn rows(count: usize) -> Vec<Row> {
        let row = |number: usize| Row {
            input: format!("input {number}"),
            label: "l".to_owned(),
            rationales: if number.is_multiple_of(5) {
                Vec::new()
            } else {
                vec![format!("w{number} a b c d e f g"), format!("second of {number}")]
            },
        };
        (0..count).map(row).collect()
    }

    fn shuffled(how: RationaleShuffle, seed: u64) -> Vec<Row> {
        let mut found = rows(40);
        shuffle(&mut found, how, seed);
        found
    }

    #[test]
    fn the_words_of_a_rationale_stay_its_own_in_another_order() {
        let found = shuffled(RationaleShuffle::Words, 1);
        let words = |text: &String| text.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
        for (one, other) in rows(40).iter().zip(&found) {
            assert_eq!((&one.input, &one.label), (&other.input, &other.label));
            assert!(one.rationales.iter().map(words).eq(other.rationales.iter().map(words)));
        }
        assert_ne!(found, rows(40));
        assert_eq!(found, shuffled(RationaleShuffle::Words, 1));
        assert_ne!(found, shuffled(RationaleShuffle::Words, 2));
    }

    #[test]
    fn every_row_gets_the_rationales_of_another_one() {
        for seed in 0..20 {
            let (before, after) = (rows(40), shuffled(RationaleShuffle::Rows, seed));
            let of = |rows: &[Row]| rows.iter().map(|row| row.rationales.clone()).collect::<Vec<_>>();
            let (before, after) = (of(&before), of(&after));
            assert!(before.iter().zip(&after).all(|(one, other)| one.is_empty() == other.is_empty()));
            assert!(before.iter().zip(&after).all(|(one, other)| one.is_empty() || one != other), "seed {seed}");
            assert_eq!(before.into_iter().collect::<BTreeSet<_>>(), after.into_iter().collect());
        }
        let mut alone = rows(2);
        shuffle(&mut alone, RationaleShuffle::Rows, 0);
        assert_eq!(alone, rows(2), "there is no other row with rationales");
    }
}
