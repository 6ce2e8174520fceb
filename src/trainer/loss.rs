//! The loss of one step and its gradient.
//!
//! Each objective's loss is the summed cross-entropy of its target tokens over their number in the whole effective
//! batch, so micro-batches do not change the mathematics. All sequences of a micro-batch, of either objective, go through the
//! student together, end to end and without padding.

use tch::{Kind, Tensor};

use super::curriculum::Taught;
use super::gradient::Gradient;
use super::learner::Learner;
use super::lessons::Objective;
use super::micro_batch::{self, MicroBatch, Share};
use super::{TrainError, mutual_information, randomness};
use crate::domain::{AttemptSpec, Method};
use crate::student::{Dropout, Passage, T5, T5Config, Weights};

/// What one step found before it moved the weights.
#[derive(Debug, Default)]
pub struct StepLoss {
    /// Mean token loss of the labels.
    pub label: f64,
    /// Mean token loss of the rationales; null where none was learned.
    pub rationale: Option<f64>,
    /// Mean loss of the pairs of both; null where it counts for nothing.
    pub mutual_information: Option<f64>,
    /// Their weighted sum.
    pub total: f64,
    /// The total's gradient.
    pub gradient: Gradient,
    /// Input and target tokens, padding left out.
    pub tokens: u64,
}

/// How losses are weighed and computed.
pub struct LossSettings {
    objectives: Vec<(Objective, f64)>,
    /// Examples computed at once.
    pub micro_batch_size: usize,
    dropout: f64,
    /// The seed of the round.
    pub seed: u64,
    mutual_information_weight: f64,
    gradient_checkpointing: bool,
}

impl LossSettings {
    /// The settings of an attempt.
    pub fn new(spec: &AttemptSpec, config: &T5Config, seed: u64) -> Self {
        let hyperparameters = &spec.hyperparameters;
        let objectives = match spec.method {
            Method::StepByStep => vec![(Objective::Label, spec.alpha), (Objective::Rationale, 1.0 - spec.alpha)],
            Method::Standard | Method::RationaleThenLabel => vec![(Objective::Label, 1.0)],
        };
        let micro_batch_size = hyperparameters.micro_batch_size.unwrap_or(hyperparameters.batch_size);
        Self {
            objectives,
            micro_batch_size: micro_batch_size.max(1) as usize,
            dropout: hyperparameters.dropout.unwrap_or(config.dropout_rate),
            seed,
            mutual_information_weight: hyperparameters.mutual_information_weight,
            gradient_checkpointing: hyperparameters.gradient_checkpointing,
        }
    }
}

/// The loss of a step's lessons and its gradient.
pub fn step_loss(
    learner: &Learner,
    lessons: &[Taught<'_>],
    settings: &LossSettings,
    step: i64,
) -> Result<StepLoss, TrainError> {
    let seed = randomness::hash(settings.seed, randomness::Draw::Step, step.unsigned_abs());
    let (weights, model) = learner.to_compute()?;
    let whole = Whole { shares: Share::of(lessons, &settings.objectives), pairs: micro_batch::pair_count(lessons) };
    let gradient = if lessons.len() > settings.micro_batch_size {
        Gradient::of_several(&learner.parameters)
    } else {
        Gradient::default()
    };
    let mut found = StepLoss { gradient, ..StepLoss::default() };
    for (number, part) in (0..).zip(lessons.chunks(settings.micro_batch_size)) {
        let Some(batch) = MicroBatch::new(learner, part, &whole.shares) else { continue };
        let dropout = Dropout::new(settings.dropout, seed).at(number);
        add_micro_batch((&weights, &model), &batch, (&whole, settings), dropout, &mut found);
    }
    Ok(found)
}

/// What the losses of the whole effective batch are divided by.
struct Whole {
    shares: Vec<Share>,
    pairs: usize,
}

/// Adds what some of the step's lessons give.
fn add_micro_batch(
    (weights, model): (&Weights, &T5),
    batch: &MicroBatch,
    (whole, settings): (&Whole, &LossSettings),
    dropout: Dropout,
    found: &mut StepLoss,
) {
    let mut gradient = std::mem::take(&mut found.gradient);
    let mut end = |hidden: &Tensor| ending(model, hidden, batch, (whole, settings), found);
    let mut backward = |loss: &Tensor, leaves: &[&Tensor]| gradient.add(loss, weights, leaves);
    let passage = Passage { inputs: &batch.inputs, said: &batch.targets.said, dropout };
    if settings.gradient_checkpointing {
        model.backward_by_layer(&passage, &mut end, &mut backward);
    } else {
        backward(&end(&model.forward(&passage)), &[]);
    }
    found.gradient = gradient;
}

/// A micro-batch's part of the total, from the decoder's output; its value is added to what was found.
fn ending(
    model: &T5,
    hidden: &Tensor,
    batch: &MicroBatch,
    (whole, settings): (&Whole, &LossSettings),
    found: &mut StepLoss,
) -> Tensor {
    let (mut total, losses) = model.cross_entropy(hidden, &batch.targets.ids, &batch.weights);
    found.tokens += batch.length;
    found.add_losses(batch, &whole.shares, &losses);
    if settings.mutual_information_weight > 0.0 && !batch.pairs.is_empty() {
        let mean = mutual_information::loss(model, hidden, &batch.pairs) / whole.pairs as f64;
        *found.mutual_information.get_or_insert_default() += mean.double_value(&[]);
        found.total += settings.mutual_information_weight * mean.double_value(&[]);
        total += mean * settings.mutual_information_weight;
    }
    total
}

impl StepLoss {
    /// The losses of a micro-batch's target tokens lie in the order of the shares.
    fn add_losses(&mut self, batch: &MicroBatch, shares: &[Share], losses: &Tensor) {
        let mut first = 0;
        for (share, &count) in shares.iter().zip(&batch.tokens) {
            let sum = losses.narrow(0, first, count).sum(Kind::Double).double_value(&[]);
            let mean = sum / share.tokens as f64;
            first += count;
            self.total += share.weight * mean;
            match share.objective {
                Objective::Label => self.label += mean,
                Objective::Rationale => *self.rationale.get_or_insert_default() += mean,
            }
        }
    }
}
