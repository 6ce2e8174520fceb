//! The loss of one step and its gradient.
//!
//! Each objective's loss is the summed cross-entropy of its target tokens over their number in the whole effective
//! batch, so micro-batches do not change the mathematics. All sequences of a micro-batch, of either objective, go through the
//! student together, end to end and without padding.

use tch::{Kind, Tensor};

use super::batch::Targets;
use super::curriculum::Taught;
use super::gradient::Gradient;
use super::learner::Learner;
use super::lessons::{Objective, Sequence};
use super::{TrainError, randomness};
use crate::domain::{AttemptSpec, Method};
use crate::student::{Dropout, Packed, T5, T5Config, Weights};

/// What one step found before it moved the weights.
#[derive(Debug)]
pub struct StepLoss {
    /// Mean token loss of the labels.
    pub label: f64,
    /// Mean token loss of the rationales; null where none was learned.
    pub rationale: Option<f64>,
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
    micro_batch_size: usize,
    dropout: f64,
    seed: u64,
}

impl LossSettings {
    /// The settings of an attempt.
    pub fn new(spec: &AttemptSpec, config: &T5Config) -> Self {
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
            seed: hyperparameters.seed,
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
    tch::manual_seed(seed.cast_signed());
    let (weights, model) = learner.to_compute()?;
    let shares = Share::of(lessons, settings);
    let mut found = StepLoss { label: 0.0, rationale: None, total: 0.0, gradient: Gradient::default(), tokens: 0 };
    for (number, micro_batch) in (0..).zip(lessons.chunks(settings.micro_batch_size)) {
        let dropout = Dropout::new(settings.dropout, seed).at(number);
        add_micro_batch(learner, (&weights, &model), micro_batch, &shares, dropout, &mut found);
    }
    Ok(found)
}

/// What an objective counts for in a step.
struct Share {
    objective: Objective,
    /// Its weight in the total.
    weight: f64,
    /// Its target tokens in the whole effective batch.
    tokens: usize,
}

impl Share {
    /// The objectives that something is learned for.
    fn of(lessons: &[Taught<'_>], settings: &LossSettings) -> Vec<Self> {
        let share = |&(objective, weight): &(Objective, f64)| {
            let tokens = sequences(lessons, objective).map(|sequence| sequence.target.len()).sum();
            Self { objective, weight, tokens }
        };
        settings.objectives.iter().map(share).filter(|share| share.tokens > 0 && share.weight > 0.0).collect()
    }
}

fn sequences<'a>(lessons: &'a [Taught<'a>], objective: Objective) -> impl Iterator<Item = &'a Sequence> {
    lessons.iter().flat_map(move |lesson| lesson.sequences(objective))
}

/// Adds what some of the step's lessons give.
fn add_micro_batch(
    learner: &Learner,
    (weights, model): (&Weights, &T5),
    lessons: &[Taught<'_>],
    shares: &[Share],
    dropout: Dropout,
    found: &mut StepLoss,
) {
    let mut all: Vec<&Sequence> = Vec::new();
    let mut token_weights: Vec<f32> = Vec::new();
    for share in shares {
        for sequence in sequences(lessons, share.objective) {
            all.push(sequence);
            token_weights.extend(vec![(share.weight / share.tokens as f64) as f32; sequence.target.len()]);
        }
    }
    if all.is_empty() {
        return;
    }
    found.tokens += all.iter().map(|sequence| (sequence.input.len() + sequence.target.len()) as u64).sum::<u64>();
    let inputs: Vec<&[i64]> = all.iter().map(|sequence| sequence.input.as_slice()).collect();
    let inputs = Packed::new(&inputs, learner.device);
    let targets = Targets::new(&all, learner.config.decoder_start_token_id, learner.device);
    let encoded = model.encode_packed(&inputs, dropout.at(0));
    let hidden = model.decode_packed(&targets.said, &encoded, &inputs, dropout.at(1));
    let token_weights = Tensor::from_slice(&token_weights).to_device(learner.device);
    let (total, losses) = model.cross_entropy(&hidden, &targets.ids, &token_weights);
    found.gradient.add(&learner.parameters, &total, weights);
    add_losses(lessons, shares, &losses, found);
}

/// The losses lie in the order of the shares.
fn add_losses(lessons: &[Taught<'_>], shares: &[Share], losses: &Tensor, found: &mut StepLoss) {
    let mut first = 0;
    for share in shares {
        let count = sequences(lessons, share.objective).map(|sequence| sequence.target.len() as i64).sum();
        let sum = losses.narrow(0, first, count).to_kind(Kind::Double).sum(Kind::Double).double_value(&[]);
        let mean = sum / share.tokens as f64;
        first += count;
        found.total += share.weight * mean;
        match share.objective {
            Objective::Label => found.label += mean,
            Objective::Rationale => *found.rationale.get_or_insert_default() += mean,
        }
    }
}
