//! The rounds of a training: one for each of its seeds, one after the other on the same rows.

use tch::{Device, Kind, Tensor};

use crate::domain::{Hyperparameters, SeedOutcome};

/// The rounds that are over, and the weights that the best of them left.
#[derive(Debug, Default)]
pub struct Rounds {
    over: Vec<SeedOutcome>,
    best: Option<Tensor>,
}

/// A round that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// Its place among the rounds, from 0.
    pub number: usize,
    /// All rounds.
    pub count: usize,
    /// What it draws from.
    pub seed: u64,
    /// Steps of the rounds before it: steps are counted over all rounds.
    pub first_step: i64,
}

impl Rounds {
    /// The rounds that an interrupted training had finished.
    pub fn resume(over: Vec<SeedOutcome>, best: Option<Tensor>) -> Self {
        Self { over, best }
    }

    /// What was found in those that are over.
    pub fn over(&self) -> &[SeedOutcome] {
        &self.over
    }

    /// The weights that the best of them left, in the parameters' layout; nothing where they need no keeping.
    pub fn best(&self) -> Option<&Tensor> {
        self.best.as_ref()
    }

    /// The round that comes after them; nothing where all are over.
    pub fn next(&self, knobs: &Hyperparameters) -> Option<Round> {
        let (number, seeds) = (self.over.len(), knobs.seeds());
        let first_step = self.over.iter().map(|outcome| outcome.steps).sum();
        Some(Round { number, count: seeds.len(), seed: *seeds.get(number)?, first_step })
    }

    /// The round whose weights are kept: the one with the best validation accuracy, the earlier of equals.
    pub fn chosen(&self) -> Option<&SeedOutcome> {
        let better = |kept: &'_ SeedOutcome, outcome: &'_ SeedOutcome| {
            outcome.validation_accuracy.unwrap_or_default() > kept.validation_accuracy.unwrap_or_default()
        };
        self.over.iter().reduce(|kept, outcome| if better(kept, outcome) { outcome } else { kept })
    }

    /// Takes a round that is over and, where others come after it, a copy of the weights that it leaves, if they are the best.
    /// The copy lies in the host's memory: the device needs its own for the next round.
    pub fn end(&mut self, outcome: SeedOutcome, values: &Tensor, knobs: &Hyperparameters) {
        self.over.push(outcome);
        if self.chosen() == self.over.last() {
            // First the earlier ones go: two copies at once may be more than there is.
            self.best = None;
            let copy = || values.to_device_(Device::Cpu, Kind::Float, false, true);
            self.best = self.next(knobs).map(|_| copy());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(accuracies: &[Option<f64>]) -> (Rounds, Vec<Option<f64>>) {
        let seeds = (0..accuracies.len() as u64).map(|seed| seed + 10).collect();
        let knobs = Hyperparameters { seeds: Some(seeds), ..Hyperparameters::default() };
        let (mut rounds, mut kept) = (Rounds::default(), Vec::new());
        for &validation_accuracy in accuracies {
            let round = rounds.next(&knobs).unwrap();
            let outcome = SeedOutcome { seed: round.seed, steps: 5, validation_accuracy, ..SeedOutcome::default() };
            rounds.end(outcome, &Tensor::from_slice(&[round.number as f32]), &knobs);
            kept.push(rounds.best().map(|values| values.double_value(&[0])));
        }
        assert_eq!(rounds.next(&knobs), None);
        (rounds, kept)
    }

    #[test]
    fn the_best_round_is_chosen_and_the_earlier_of_equals() {
        let (rounds, kept) = ended(&[Some(0.5), Some(0.7), Some(0.7), Some(0.6)]);
        assert_eq!(rounds.chosen().unwrap().seed, 11);
        assert_eq!(kept, [Some(0.0), Some(1.0), Some(1.0), Some(1.0)]);
        let (rounds, _) = ended(&[None, None]);
        assert_eq!(rounds.chosen().unwrap().seed, 10);
    }

    #[test]
    fn no_copy_is_made_of_what_the_last_round_leaves() {
        let (rounds, kept) = ended(&[Some(0.5), Some(0.7)]);
        assert_eq!((rounds.chosen().unwrap().seed, kept), (11, vec![Some(0.0), None]));
        assert_eq!(ended(&[Some(0.5)]).1, [None]);
    }

    #[test]
    fn a_round_counts_its_steps_from_those_before_it() {
        let knobs = Hyperparameters { seeds: Some(vec![4, 2]), ..Hyperparameters::default() };
        let mut rounds = Rounds::default();
        assert_eq!(rounds.next(&knobs), Some(Round { number: 0, count: 2, seed: 4, first_step: 0 }));
        let early = SeedOutcome { seed: 4, steps: 7, ..SeedOutcome::default() };
        rounds.end(early, &Tensor::from_slice(&[0.0_f32]), &knobs);
        assert_eq!(rounds.next(&knobs), Some(Round { number: 1, count: 2, seed: 2, first_step: 7 }));
    }
}
