//! The peak memory of a training, by its parts. A rule, not a promise: libtorch keeps freed blocks, and activations
//! depend on the longest rows of a batch.

use crate::{
    domain::{Hyperparameters, Optimizer, Precision},
    inference::StudentShape,
};

/// libtorch, the tokenizer and the rows.
const BASE_BYTES: f64 = 350e6;
/// The longest rows of a batch against the mean.
const LONGEST: f64 = 2.0;

/// Mean tokens of an example's parts, after cutting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lengths {
    pub input: f64,
    pub label: f64,
    pub rationale: f64,
    /// Rationales of an example that are learned in one step.
    pub rationales: f64,
}

/// Peak bytes of the training process.
pub(super) fn bytes(shape: &StudentShape, knobs: &Hyperparameters, lengths: &Lengths) -> u64 {
    let weights = weight_bytes(knobs) * shape.parameters as f64;
    let micro = f64::from(knobs.micro_batch_size.unwrap_or(knobs.batch_size));
    let target = lengths.rationale.max(lengths.label);
    (BASE_BYTES + weights + micro * activation_bytes(shape, LONGEST * lengths.input, LONGEST * target)) as u64
}

/// Bytes for each parameter: fp32 master weights, their gradients and the best weights so far, the optimizer's moments,
/// the bf16 copy of a step, and with several seeds the best weights of those that are done.
fn weight_bytes(knobs: &Hyperparameters) -> f64 {
    let moments = match knobs.optimizer {
        Optimizer::Adamw => 8.0,
        // A row and a column for each matrix.
        Optimizer::Adafactor => 0.1,
    };
    let copies = if knobs.precision == Precision::Fp32 { 0.0 } else { 2.0 };
    let best_round = if knobs.seeds().len() > 1 { 4.0 } else { 0.0 };
    12.0 + moments + copies + best_round
}

/// Bytes that one example keeps for the backward pass: in each layer about 16 values as wide as the stream, 3 as wide as
/// the feed-forward layer and the attention of each head; and three copies of the logits.
fn activation_bytes(shape: &StudentShape, input: f64, target: f64) -> f64 {
    let (model, forward, heads) = (shape.d_model as f64, shape.d_ff as f64, shape.heads as f64);
    let layer = |length: f64, seen: f64| length * (16.0 * model + 3.0 * forward + 2.0 * heads * seen);
    let layers = shape.layers as f64 / 2.0 * (layer(input, input) + layer(target, target + input));
    4.0 * (layers + 3.0 * target * shape.vocabulary as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::FromScratch;

    #[test]
    fn memory_grows_with_the_student_and_the_micro_batch_and_shrinks_with_adafactor() {
        let lengths = Lengths { input: 100.0, label: 4.0, rationale: 40.0, rationales: 1.0 };
        let small = StudentShape::from_scratch(&FromScratch::default());
        let large = StudentShape { parameters: 11_300_000_000, ..small };
        let knobs = Hyperparameters::default();
        let thrifty = Hyperparameters { optimizer: Optimizer::Adafactor, ..knobs.clone() };
        let halved = Hyperparameters { micro_batch_size: Some(knobs.batch_size / 2), ..knobs.clone() };
        assert!(bytes(&small, &knobs, &lengths) > bytes(&small, &halved, &lengths));
        // T5-11B with AdamW: the weights and moments alone are 22 bytes for each parameter.
        assert!(bytes(&large, &knobs, &lengths) > 240_000_000_000);
        assert!(bytes(&large, &thrifty, &lengths) < 165_000_000_000);
    }
}
