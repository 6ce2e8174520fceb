//! Which rows meet in a step, and their targets as tensors.

use tch::{Device, Tensor};

use super::lessons::Sequence;
use super::randomness::{self, Draw};
use crate::student::Packed;

/// A row's turn to be learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The row.
    pub row: usize,
    /// The pass over the rows, from 0.
    pub epoch: u64,
    /// The seed of the round.
    pub seed: u64,
}

/// The rows of every step: the epochs' orders end to end, cut into batches. An order depends on seed and epoch alone.
pub struct Order {
    seed: u64,
    rows: usize,
    epoch: Option<u64>,
    order: Vec<usize>,
}

impl Order {
    /// The order of this many rows; at least one.
    pub fn new(seed: u64, rows: usize) -> Self {
        Self { seed, rows, epoch: None, order: Vec::new() }
    }

    /// The rows of a step, counted from 0.
    pub fn batch(&mut self, step: i64, batch_size: usize) -> Vec<Turn> {
        let first = usize::try_from(step).unwrap_or_default() * batch_size;
        (first..first + batch_size).map(|place| self.turn(place)).collect()
    }

    fn turn(&mut self, place: usize) -> Turn {
        let epoch = (place / self.rows) as u64;
        if self.epoch != Some(epoch) {
            self.order = randomness::order(self.rows, randomness::hash(self.seed, Draw::Epoch, epoch));
            self.epoch = Some(epoch);
        }
        Turn { row: self.order[place % self.rows], epoch, seed: self.seed }
    }
}

/// What a decoder reads and must write, end to end.
pub struct Targets {
    /// Targets shifted right.
    pub said: Packed,
    /// The target tokens, `(tokens)` i64.
    pub ids: Tensor,
}

impl Targets {
    /// Shifts targets. `start` is what a decoder reads first.
    pub fn new(sequences: &[&Sequence], start: i64, device: Device) -> Self {
        let shifted: Vec<Vec<i64>> = sequences.iter().map(|sequence| shift(&sequence.target, start)).collect();
        let ids: Vec<i64> = sequences.iter().flat_map(|sequence| sequence.target.iter().copied()).collect();
        Self { said: Packed::new(&shifted, device), ids: Tensor::from_slice(&ids).to_device(device) }
    }
}

fn shift(target: &[i64], start: i64) -> Vec<i64> {
    let before_last = target.split_last().map_or(target, |(_, rest)| rest);
    std::iter::once(start).chain(before_last.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_comes_once_an_epoch_across_batches() {
        let mut order = Order::new(1, 10);
        let turns: Vec<Turn> = (0..5).flat_map(|step| order.batch(step, 4)).collect();
        assert_eq!(turns, (0..5).flat_map(|step| Order::new(1, 10).batch(step, 4)).collect::<Vec<_>>());
        assert!(turns.iter().enumerate().all(|(place, turn)| turn.epoch == place as u64 / 10));
        let mut rows: Vec<usize> = turns.into_iter().map(|turn| turn.row).collect();
        let mut second = rows.split_off(10);
        assert_ne!(rows, second);
        rows.sort_unstable();
        second.sort_unstable();
        assert_eq!((rows, second), ((0..10).collect(), (0..10).collect()));
    }

    #[test]
    fn targets_are_shifted() {
        let long = Sequence { input: vec![1], target: vec![5, 6, 1] };
        let short = Sequence { input: vec![1], target: vec![7, 1] };
        let targets = Targets::new(&[&long, &short], 0, Device::Cpu);
        let values = |tensor: &Tensor| Vec::<i64>::try_from(tensor).unwrap();
        assert_eq!(values(&targets.said.ids), [0, 5, 6, 0, 7]);
        assert_eq!(values(&targets.ids), [5, 6, 1, 7, 1]);
    }
}
