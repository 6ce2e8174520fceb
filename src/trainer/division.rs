//! Which rows are learned and which are asked about: drawn from seeds alone, so that every attempt divides alike.

use std::collections::HashMap;

use super::data::Row;
use super::randomness::{self, Draw};
use crate::domain::Hyperparameters;

/// All rows of one input go to one side: a student is not examined on inputs that it learned. The inputs come in the
/// order of the seed, and each goes to the validation rows that still fits into their share; where none does, the one with
/// the fewest rows. At least one input is left to learn from.
pub fn carve(rows: Vec<Row>, fraction: f64, seed: u64) -> (Vec<Row>, Vec<Row>) {
    let wanted = (rows.len() as f64 * fraction).round() as usize;
    let mut chosen = vec![false; rows.len()];
    for index in carved(&rows, wanted, seed) {
        chosen[index] = true;
    }
    let (mut training, mut validation) = (Vec::new(), Vec::new());
    for (row, chosen) in rows.into_iter().zip(chosen) {
        if chosen {
            validation.push(row);
        } else {
            training.push(row);
        }
    }
    (training, validation)
}

/// The places of about so many rows.
fn carved(rows: &[Row], wanted: usize, seed: u64) -> Vec<usize> {
    let mut inputs = places_by_input(rows);
    let order = randomness::order(inputs.len(), randomness::hash(seed, Draw::Validation, 0));
    if wanted == 0 || inputs.len() < 2 {
        return Vec::new();
    }
    let (mut found, mut taken) = (Vec::new(), 0);
    for &input in &order {
        if found.len() + inputs[input].len() <= wanted && taken + 1 < inputs.len() {
            found.append(&mut inputs[input]);
            taken += 1;
        }
    }
    let fewest = || order.iter().copied().min_by_key(|&input| inputs[input].len());
    match fewest() {
        Some(input) if found.is_empty() => std::mem::take(&mut inputs[input]),
        _ => found,
    }
}

/// The places of each different input's rows, inputs in the order in which they first come.
fn places_by_input(rows: &[Row]) -> Vec<Vec<usize>> {
    let (mut inputs, mut known) = (Vec::<Vec<usize>>::new(), HashMap::new());
    for (place, row) in rows.iter().enumerate() {
        let input = *known.entry(row.input.as_str()).or_insert(inputs.len());
        if input == inputs.len() {
            inputs.push(Vec::new());
        }
        inputs[input].push(place);
    }
    inputs
}

/// The share of the rows that is learned. A smaller one under the same seed is part of every larger one.
pub fn share(rows: Vec<Row>, knobs: &Hyperparameters) -> Vec<Row> {
    if knobs.train_fraction >= 1.0 {
        return rows;
    }
    let count = ((rows.len() as f64 * knobs.train_fraction).round() as usize).max(1);
    let order = randomness::order(rows.len(), randomness::hash(knobs.seed, Draw::Fraction, 0));
    let mut kept: Vec<usize> = order.into_iter().take(count).collect();
    kept.sort_unstable();
    kept.into_iter().filter_map(|index| rows.get(index).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn rows(inputs: impl IntoIterator<Item = usize>) -> Vec<Row> {
        let row = |input: usize| Row { input: format!("input {input}"), label: "l".to_owned(), rationales: Vec::new() };
        inputs.into_iter().map(row).collect()
    }

    fn sides(rows: Vec<Row>, fraction: f64, seed: u64) -> (Vec<String>, Vec<String>) {
        let (training, validation) = carve(rows, fraction, seed);
        let training = training.into_iter().map(|row| row.input).collect();
        (training, validation.into_iter().map(|row| row.input).collect())
    }

    #[test]
    fn all_rows_of_an_input_go_to_one_side() {
        for seed in 0..20 {
            let (training, validation) = sides(rows((0..400).map(|row| row % 90)), 0.25, seed);
            assert!(validation.len() > 90 && validation.len() <= 100, "{}", validation.len());
            assert_eq!(training.len() + validation.len(), 400);
            let learned: BTreeSet<_> = training.iter().collect();
            assert!(validation.iter().all(|input| !learned.contains(input)), "seed {seed}");
        }
    }

    #[test]
    fn the_seed_alone_decides() {
        let draw = |seed| sides(rows((0..400).map(|row| row % 90)), 0.25, seed);
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }

    #[test]
    fn different_inputs_are_taken_to_the_row() {
        for (fraction, expected) in [(0.0, 0), (0.1, 5), (0.99, 49)] {
            assert_eq!(sides(rows(0..50), fraction, 1).1.len(), expected, "{fraction}");
        }
    }

    #[test]
    fn a_smaller_share_is_part_of_a_larger_one_and_its_seed_decides() {
        let learned = |train_fraction, seed| -> Vec<String> {
            let knobs = Hyperparameters { train_fraction, seed, ..Hyperparameters::default() };
            share(rows(0..200), &knobs).into_iter().map(|row| row.input).collect()
        };
        let (eighth, half) = (learned(0.125, 5), learned(0.5, 5));
        assert_eq!((eighth.len(), half.len(), learned(1.0, 5).len(), learned(0.001, 5).len()), (25, 100, 200, 1));
        assert!(eighth.iter().all(|input| half.contains(input)));
        assert_eq!(half, learned(0.5, 5));
        assert_ne!(half, learned(0.5, 6));
    }

    #[test]
    fn something_is_examined_and_something_learned_as_far_as_inputs_go() {
        // No input has as few rows as a tenth: the smallest one goes.
        let (training, validation) = sides(rows([0, 0, 0, 0, 0, 1, 1, 1]), 0.1, 0);
        assert_eq!((training.len(), validation), (5, vec!["input 1".to_owned(); 3]));
        assert_eq!(sides(rows([7; 10]), 0.5, 0).1, Vec::<String>::new());
        assert_eq!(sides(rows([0, 1]), 0.9, 0).0.len(), 1);
    }
}
