//! What goes through a student at once: sequences of some of a step's lessons, end to end, objective by objective.

use std::ops::Range;

use tch::Tensor;

use super::curriculum::Taught;
use super::learner::Learner;
use super::lessons::{Objective, Sequence};
use super::mutual_information::Pair;
use super::targets::Targets;
use crate::student::Packed;

/// What an objective counts for in a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// What is learned.
    pub objective: Objective,
    /// Its weight in the total.
    pub weight: f64,
    /// Its target tokens in the whole effective batch.
    pub tokens: usize,
}

impl Share {
    /// The objectives, with their weights, that these lessons teach something of.
    pub fn of(lessons: &[Taught<'_>], objectives: &[(Objective, f64)]) -> Vec<Self> {
        let share = |&(objective, weight): &(Objective, f64)| {
            let tokens = sequences(lessons, objective).map(|sequence| sequence.target.len()).sum();
            Self { objective, weight, tokens }
        };
        objectives.iter().map(share).filter(|share| share.tokens > 0 && share.weight > 0.0).collect()
    }
}

/// Sequences that go through a student at once.
pub struct MicroBatch {
    /// What the encoder reads.
    pub inputs: Packed,
    /// What the decoder reads and must write.
    pub targets: Targets,
    /// What each target token counts for in the total, `(tokens)` fp32.
    pub weights: Tensor,
    /// Target tokens of each share, which lie in the order of the shares.
    pub tokens: Vec<i64>,
    /// Input and target tokens in all.
    pub length: u64,
    /// Labels and rationales of the same row.
    pub pairs: Vec<Pair>,
}

impl MicroBatch {
    /// The sequences of lessons; none where there is nothing to learn.
    pub fn new(learner: &Learner, lessons: &[Taught<'_>], shares: &[Share]) -> Option<Self> {
        let of_share = |share: &Share| sequences(lessons, share.objective).collect::<Vec<&Sequence>>();
        let by_share: Vec<Vec<&Sequence>> = shares.iter().map(of_share).collect();
        let all = by_share.concat();
        if all.is_empty() {
            return None;
        }
        let targets = |sequences: &[&Sequence]| sequences.iter().map(|sequence| sequence.target.len()).sum::<usize>();
        let weights = shares
            .iter()
            .zip(&by_share)
            .flat_map(|(share, sequences)| vec![(share.weight / share.tokens as f64) as f32; targets(sequences)]);
        let inputs: Vec<&[i64]> = all.iter().map(|sequence| sequence.input.as_slice()).collect();
        let length = inputs.iter().map(|input| input.len()).sum::<usize>() + targets(&all);
        Some(Self {
            inputs: Packed::new(&inputs, learner.device),
            targets: Targets::new(&all, learner.config.decoder_start_token_id, learner.device),
            weights: Tensor::from_slice(&weights.collect::<Vec<f32>>()).to_device(learner.device),
            tokens: by_share.iter().map(|sequences| targets(sequences) as i64).collect(),
            length: length as u64,
            pairs: pairs(lessons, shares),
        })
    }
}

/// Pairs that these lessons have in all.
pub fn pair_count(lessons: &[Taught<'_>]) -> usize {
    let count = |lesson: &Taught<'_>| match lesson.sequences(Objective::Label) {
        [] => 0,
        _ => lesson.sequences(Objective::Rationale).len(),
    };
    lessons.iter().map(count).sum()
}

/// Each rationale with its row's first label, where both are learned.
fn pairs(lessons: &[Taught<'_>], shares: &[Share]) -> Vec<Pair> {
    let mut end = 0;
    let mut positions: Vec<_> = shares.iter().map(|share| positions(lessons, share.objective, &mut end)).collect();
    let (Some(rationales), Some(labels)) = (positions.pop(), positions.pop()) else { return Vec::new() };
    let of_row = |(labels, rationales): (Vec<Range<i64>>, Vec<Range<i64>>)| {
        let pair = |rationale| labels.first().map(|label| Pair { label: label.clone(), rationale });
        rationales.into_iter().filter_map(pair).collect::<Vec<_>>()
    };
    labels.into_iter().zip(rationales).flat_map(of_row).collect()
}

/// Where each lesson's targets of an objective lie, from `end` on.
fn positions(lessons: &[Taught<'_>], objective: Objective, end: &mut i64) -> Vec<Vec<Range<i64>>> {
    let mut position = |sequence: &Sequence| {
        let start = *end;
        *end += sequence.target.len() as i64;
        start..*end
    };
    lessons.iter().map(|lesson| lesson.sequences(objective).iter().map(&mut position).collect()).collect()
}

fn sequences<'a>(lessons: &'a [Taught<'a>], objective: Objective) -> impl Iterator<Item = &'a Sequence> {
    lessons.iter().flat_map(move |lesson| lesson.sequences(objective))
}
