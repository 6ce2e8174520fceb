//! The loss of one step and its gradient.
//!
//! Each objective's loss is the summed cross-entropy of its target tokens over their number in the whole effective
//! batch, so neither micro-batches nor the sorting by length change the mathematics.

use tch::{Kind, Reduction, Tensor};

use super::batch::Targets;
use super::curriculum::Taught;
use super::learner::Learner;
use super::lessons::{Objective, Sequence};
use super::{TrainError, randomness};
use crate::domain::{AttemptSpec, Method};
use crate::student::{T5, T5Config, Weights, batch};

/// What one step found before it moved the weights.
#[derive(Debug)]
pub struct StepLoss {
    /// Mean token loss of the labels.
    pub label: f64,
    /// Mean token loss of the rationales; null where none was learned.
    pub rationale: Option<f64>,
    /// Their weighted sum.
    pub total: f64,
    /// The total's gradient, a buffer of the parameters' layout.
    pub gradient: Tensor,
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
    tch::manual_seed(randomness::hash(settings.seed, randomness::Draw::Step, step.unsigned_abs()) as i64);
    let (copies, model) = learner.compute_copy()?;
    let gradient = learner.parameters.values.zeros_like();
    let mut found = StepLoss { label: 0.0, rationale: None, total: 0.0, gradient, tokens: 0 };
    for &(objective, weight) in &settings.objectives {
        let sequences: Vec<&Sequence> = lessons.iter().flat_map(|lesson| lesson.sequences(objective)).collect();
        if sequences.is_empty() || weight == 0.0 {
            continue;
        }
        let mean = add_objective(learner, (&copies, &model), sequences, (weight, settings), &mut found);
        found.total += weight * mean;
        match objective {
            Objective::Label => found.label = mean,
            Objective::Rationale => found.rationale = Some(mean),
        }
    }
    Ok(found)
}

/// Adds one objective's gradient and gives its mean token loss. Sequences of like length share a micro-batch.
fn add_objective(
    learner: &Learner,
    (copies, model): (&Weights, &T5),
    mut sequences: Vec<&Sequence>,
    (weight, settings): (f64, &LossSettings),
    found: &mut StepLoss,
) -> f64 {
    sequences.sort_by_key(|sequence| (sequence.input.len(), sequence.target.len()));
    let target_tokens: usize = sequences.iter().map(|sequence| sequence.target.len()).sum();
    let input_tokens: usize = sequences.iter().map(|sequence| sequence.input.len()).sum();
    found.tokens += (target_tokens + input_tokens) as u64;
    let mut mean = 0.0;
    for micro_batch in sequences.chunks(settings.micro_batch_size) {
        let loss = summed_loss(learner, model, micro_batch, settings.dropout) / target_tokens as f64;
        mean += loss.double_value(&[]);
        found.gradient += learner.parameters.gradient(&(loss * weight), copies);
    }
    mean
}

/// The summed cross-entropy of a micro-batch; logits are made only where there is a target token.
fn summed_loss(learner: &Learner, model: &T5, sequences: &[&Sequence], dropout: f64) -> Tensor {
    let config = &learner.config;
    let inputs: Vec<&[i64]> = sequences.iter().map(|sequence| sequence.input.as_slice()).collect();
    let (input_ids, mask) = batch::pad(&inputs, config.pad_token_id, learner.device);
    let targets = Targets::new(sequences, config.decoder_start_token_id, config.pad_token_id, learner.device);
    let encoded = model.encode(&input_ids, &mask, dropout);
    let hidden = model.decode(&targets.decoder_input_ids, &encoded, &mask, dropout);
    let hidden = hidden.reshape([-1, config.d_model]).index_select(0, &targets.places);
    let logits = model.logits(&hidden).to_kind(Kind::Float);
    logits.cross_entropy_loss(&targets.ids, None::<Tensor>, Reduction::Sum, -100, 0.0)
}
