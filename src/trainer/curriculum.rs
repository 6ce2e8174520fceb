//! What each row teaches in its turn.

use super::batch::Turn;
use super::lessons::{Lesson, Objective, Sequence};
use super::randomness::{self, Draw};
use crate::domain::{AttemptSpec, RationalesPerExample};

/// Every row's lesson, and how much of it comes at a time.
pub struct Curriculum {
    lessons: Vec<Lesson>,
    per_example: RationalesPerExample,
}

/// What one row teaches in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taught<'a> {
    label: &'a [Sequence],
    rationale: &'a [Sequence],
}

impl<'a> Taught<'a> {
    /// The sequences that serve an objective.
    pub fn sequences(self, objective: Objective) -> &'a [Sequence] {
        match objective {
            Objective::Label => self.label,
            Objective::Rationale => self.rationale,
        }
    }
}

impl Curriculum {
    /// The curriculum of an attempt.
    pub fn new(spec: &AttemptSpec, lessons: Vec<Lesson>) -> Self {
        Self { lessons, per_example: spec.rationales.per_example }
    }

    /// Rows that are learned from.
    pub fn rows(&self) -> usize {
        self.lessons.len()
    }

    /// What a row teaches in an epoch.
    pub fn taught(&self, turn: Turn) -> Taught<'_> {
        let Lesson { label, rationale } = &self.lessons[turn.row];
        let of_epoch = |sequences| match self.per_example {
            RationalesPerExample::OnePerEpoch => one_of(sequences, turn),
            RationalesPerExample::First | RationalesPerExample::All => sequences,
        };
        Taught { label: of_epoch(label), rationale: of_epoch(rationale) }
    }
}

/// The next one in each epoch, starting with one that is drawn for the row: in as many epochs as there are sequences each
/// comes once.
fn one_of(sequences: &[Sequence], Turn { row, epoch, seed }: Turn) -> &[Sequence] {
    if sequences.len() < 2 {
        return sequences;
    }
    let count = sequences.len() as u64;
    let first = randomness::hash(seed, Draw::Rationale, row as u64) % count;
    let place = ((first + epoch % count) % count) as usize;
    &sequences[place..=place]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curriculum(per_example: RationalesPerExample, rationales: i64) -> Curriculum {
        let sequence = |number| Sequence { input: vec![1], target: vec![number, 1] };
        let lesson = |_| Lesson { label: vec![sequence(0)], rationale: (0..rationales).map(sequence).collect() };
        Curriculum { lessons: (0..64).map(lesson).collect(), per_example }
    }

    fn taught(curriculum: &Curriculum, row: usize, epoch: u64) -> Vec<i64> {
        let taught = curriculum.taught(Turn { row, epoch, seed: 7 });
        assert_eq!(taught.sequences(Objective::Label).len(), 1);
        taught.sequences(Objective::Rationale).iter().map(|sequence| sequence.target[0]).collect()
    }

    #[test]
    fn one_per_epoch_goes_through_all_rationales_from_a_drawn_one() {
        let curriculum = curriculum(RationalesPerExample::OnePerEpoch, 3);
        let mut starts = [0; 3];
        for row in 0..64 {
            let mut seen: Vec<i64> = (0..3).flat_map(|epoch| taught(&curriculum, row, epoch)).collect();
            starts[seen[0] as usize] += 1;
            assert_eq!(taught(&curriculum, row, 3), seen[..1]);
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2]);
        }
        assert!(starts.iter().all(|&rows| rows > 10), "{starts:?}");
    }

    #[test]
    fn all_of_them_come_each_time_and_none_stays_none() {
        assert_eq!(taught(&curriculum(RationalesPerExample::All, 3), 5, 9), [0, 1, 2]);
        assert!(taught(&curriculum(RationalesPerExample::OnePerEpoch, 0), 5, 9).is_empty());
    }
}
