//! Which rows meet in a step.

use super::randomness::{self, Draw};

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
}
