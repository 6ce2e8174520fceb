//! Rows that come and go between steps, and what each writes in company and alone.

use tch::Device;

use super::*;
use crate::domain::FromScratch;
use crate::native::t5::Storage;
use crate::student::batch::pad;
use crate::student::drawing::Sampling;
use crate::student::{T5Config, Weights, initial_weights};

fn model() -> T5 {
    model_and_weights().0
}

/// The same, prepacked.
fn prepacked() -> T5 {
    let (mut model, mut weights) = model_and_weights();
    model.prepack(Storage::Numbers, &mut weights);
    model
}

fn model_and_weights() -> (T5, Weights) {
    let shape = FromScratch { d_model: 32, d_kv: 8, d_ff: 48, num_layers: 2, num_heads: 4, ..FromScratch::default() };
    let config = T5Config::from_scratch(&shape, 90);
    let weights = initial_weights(&config, 11);
    (T5::new(&config, &weights).unwrap(), weights)
}

/// Row 4 reads 5 tokens and writes 15, and so on.
fn input(row: usize) -> Vec<i64> {
    (0..=row).map(|at| size(5 + (7 * at + 13 * row) % 80)).collect()
}

fn to_write(row: usize) -> usize {
    3 * (row + 1)
}

/// Of three rows one draws its tokens.
fn beginning(row: usize, scores: Scores) -> Beginning {
    let sampling = Sampling { temperature: 0.9, top_p: 0.95, top_k: Some(40), seed: row as u64 };
    let choosing = if row % 3 == 2 { Choosing::Drawn(sampling) } else { Choosing::Likeliest };
    Beginning { name: row, least: to_write(row), expected: 2, choosing, scores }
}

/// What rows write that begin before these steps, and how many rows each step computes.
fn write(model: &T5, scores: Scores, joining: &[(usize, &[usize])]) -> (Vec<(usize, Generated)>, Vec<usize>) {
    let _no_gradients = tch::no_grad_guard();
    let (mut batch, mut written, mut sizes) = (Generation::new(model), Vec::new(), Vec::new());
    let last = joining.iter().map(|(step, _)| *step).max().unwrap_or_default();
    while sizes.len() <= last || !batch.is_empty() {
        for (_, rows) in joining.iter().filter(|(step, _)| *step == sizes.len()) {
            let (ids, mask) = pad(&rows.iter().map(|row| input(*row)).collect::<Vec<_>>(), 0, Device::Cpu);
            let beginnings = rows.iter().map(|row| beginning(*row, scores)).collect();
            batch.join(&model.encode(&ids, &mask), &mask, beginnings);
        }
        sizes.push(batch.len());
        written.extend(batch.step(&mut |row, said| said.ids.len() >= to_write(row)));
    }
    (written, sizes)
}

#[test]
fn rows_that_join_and_leave_between_steps_write_what_each_writes_alone() {
    // Row 6 writes 21 tokens; the others come and go beside it, and after a pause rows begin anew.
    let joining: [(usize, &[usize]); 5] = [(0, &[6, 0]), (1, &[2]), (4, &[1, 5, 3]), (19, &[4, 7]), (50, &[8, 9])];
    let (written, sizes) = write(&model(), Scores::Sum, &joining);
    let first = &written;
    // A prepacked student finds the likeliest tokens without the others' scores where none are wanted, but not beside a row that draws.
    let prepacked = prepacked();
    for (model, scores) in [(&model(), Scores::Sum), (&prepacked, Scores::Sum), (&prepacked, Scores::None)] {
        let (written, _) = write(model, scores, &joining);
        assert_eq!(written.len(), 10);
        for ((row, said), (_, first)) in written.iter().zip(first) {
            let alone = &write(model, scores, &[(0, &[*row])]).0[0].1;
            assert_eq!((said.ids.len(), &said.ids, &said.ids), (to_write(*row), &alone.ids, &first.ids), "row {row}");
            let off = (said.log_probability - alone.log_probability).abs();
            assert!(off < 1e-4, "row {row}: {off}");
        }
    }
    assert!(written.iter().any(|(row, said)| said.ids.iter().any(|id| *id != said.ids[0]) && *row > 0));
    // Row 0 had left before the others came, and nobody wrote between 44 and 50.
    assert_eq!(sizes[..6], [2, 3, 3, 2, 5, 5], "{sizes:?}");
    assert_eq!((sizes[46], sizes[50]), (0, 2), "{sizes:?}");
}

#[test]
fn a_dictated_answer_is_as_likely_as_when_it_was_written() {
    let (model, _no_gradients) = (model(), tch::no_grad_guard());
    let (ids, mask) = pad(&[input(4), input(6)], 0, Device::Cpu);
    let encoded = model.encode(&ids, &mask);
    let write = |choosing: [Choosing; 2], tokens: usize| {
        let mut batch = Generation::new(&model);
        let beginning = |(name, choosing)| Beginning { name, least: 8, expected: 8, choosing, scores: Scores::Each(2) };
        batch.join(&encoded, &mask, choosing.into_iter().enumerate().map(beginning).collect());
        let mut written = Vec::new();
        while !batch.is_empty() {
            written.extend(batch.step(&mut |_, said| said.ids.len() >= tokens));
        }
        written
    };
    let sampling = Sampling { temperature: 2.0, top_p: 1.0, top_k: None, seed: 3 };
    let free = write([Choosing::Likeliest, Choosing::Drawn(sampling)], 8);
    let again = write([0, 1].map(|row: usize| Choosing::Dictated(free[row].1.ids.clone())), 8);
    assert_eq!(free, again);
    assert_eq!(free[0].1.scores.len(), 8);
    assert!(free[0].1.scores.iter().zip(&free[0].1.ids).all(|(score, id)| score.likeliest[0].0 == *id));
}

#[test]
fn who_joins_late_and_has_little_to_say_is_ready_first() {
    let order: Vec<usize> =
        write(&model(), Scores::Sum, &[(0, &[6]), (5, &[1])]).0.into_iter().map(|(row, _)| row).collect();
    assert_eq!(order, [1, 6]);
}
