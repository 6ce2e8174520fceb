//! The peak memory of a training, by its parts, and what else it would take. A rule, not a promise: libtorch keeps freed
//! blocks, and activations depend on the longest rows of a batch.

use crate::{
    domain::{Hyperparameters, MemoryAlternative, MemoryTable, Method, Optimizer, Precision},
    inference::StudentShape,
};

/// libtorch, the tokenizer and the rows.
const PROGRAM_BYTES: f64 = 350e6;
/// A batch of long rows against the mean one.
const LONGEST: f64 = 1.3;
/// Numbers that a layer keeps of a token for the backward pass: so many as wide as the stream, and so many as the
/// feed-forward layer.
const STREAM_WIDTHS: f64 = 16.0;
const FORWARD_WIDTHS: f64 = 3.0;
/// Micro-batches that are tried, as shares of the one that was asked for.
const SHARES: [u32; 4] = [1, 2, 4, u32::MAX];

/// Mean tokens of an example's parts, after cutting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lengths {
    pub input: f64,
    pub label: f64,
    pub rationale: f64,
    /// Rationales of an example that are learned in one step.
    pub rationales: f64,
}

/// A training whose memory is asked for.
pub(super) struct Asked<'a> {
    /// Who learns.
    pub shape: &'a StudentShape,
    /// How.
    pub method: Method,
    /// With which knobs.
    pub knobs: &'a Hyperparameters,
    /// How long its texts are.
    pub lengths: &'a Lengths,
}

impl Asked<'_> {
    /// Peak memory by its parts; `machine` is what the trainer's machine has, where that is known.
    pub fn table(&self, machine: Option<u64>) -> MemoryTable {
        let knobs = self.knobs;
        let micro = knobs.micro_batch_size.unwrap_or(knobs.batch_size).max(1);
        let parameters = self.shape.parameters as f64;
        let bytes = |for_each: f64| (for_each * parameters) as u64;
        let mut table = MemoryTable {
            weights_bytes: bytes(4.0),
            gradients_bytes: bytes(self.gradient_width(micro)),
            optimizer_bytes: bytes(moments_width(knobs.optimizer)),
            compute_copies_bytes: bytes(if self.is_bf16() { 2.0 } else { 0.0 }),
            best_weights_bytes: bytes(self.best_width()),
            activations_bytes: (f64::from(micro) * self.activations(knobs.gradient_checkpointing)) as u64,
            program_bytes: PROGRAM_BYTES as u64,
            total_bytes: 0,
            machine_bytes: machine,
            fits: None,
            alternatives: Vec::new(),
        };
        table.total_bytes = table.parts();
        table.fits = machine.map(|machine| table.total_bytes <= machine);
        table.alternatives = self.alternatives(micro, machine);
        table
    }

    fn alternatives(&self, micro: u32, machine: Option<u64>) -> Vec<MemoryAlternative> {
        let mut sizes: Vec<u32> = SHARES.iter().map(|share| (micro / share).max(1)).collect();
        sizes.dedup();
        let mut found = Vec::new();
        for optimizer in [Optimizer::Adamw, Optimizer::Adafactor] {
            for gradient_checkpointing in [false, true] {
                for &micro_batch_size in &sizes {
                    let total_bytes = self.total(optimizer, gradient_checkpointing, micro_batch_size) as u64;
                    let fits = machine.map(|machine| total_bytes <= machine);
                    found.push(MemoryAlternative {
                        optimizer,
                        gradient_checkpointing,
                        micro_batch_size,
                        total_bytes,
                        fits,
                    });
                }
            }
        }
        found
    }

    fn total(&self, optimizer: Optimizer, gradient_checkpointing: bool, micro: u32) -> f64 {
        let copies = if self.is_bf16() { 2.0 } else { 0.0 };
        let widths = 4.0 + self.best_width() + self.gradient_width(micro) + moments_width(optimizer) + copies;
        let activations = f64::from(micro) * self.activations(gradient_checkpointing);
        PROGRAM_BYTES + widths * self.shape.parameters as f64 + activations
    }

    /// Where the processor decides, bf16 is assumed: it is what makes a difference in time, and the weights' copies cost
    /// about what smaller activations save.
    fn is_bf16(&self) -> bool {
        self.knobs.precision != Precision::Fp32
    }

    /// Bytes for each parameter: the best weights so far, and with several seeds the best of those that are done.
    fn best_width(&self) -> f64 {
        if self.knobs.seeds().len() > 1 { 8.0 } else { 4.0 }
    }

    /// Bytes for each parameter: one micro-batch's gradient in the step's arithmetic; the sum of several is fp32 beside it.
    fn gradient_width(&self, micro: u32) -> f64 {
        let own = if self.is_bf16() { 2.0 } else { 4.0 };
        if micro < self.knobs.batch_size { own + 4.0 } else { own }
    }

    /// Bytes that one example keeps for the backward pass. With gradient checkpointing, a layer keeps what goes into it, and
    /// one layer at a time all of it.
    fn activations(&self, gradient_checkpointing: bool) -> f64 {
        let (stream, forward) = (self.shape.d_model as f64, self.shape.d_ff as f64);
        let number = if self.is_bf16() { 2.0 } else { 4.0 };
        let whole = STREAM_WIDTHS * stream + FORWARD_WIDTHS * forward;
        let layers = self.shape.layers as f64 / 2.0;
        let kept = if gradient_checkpointing { layers * stream + whole } else { layers * whole };
        LONGEST * number * self.tokens() * kept
    }

    /// Tokens of an example that go through a step, inputs through the encoder and targets through the decoder.
    fn tokens(&self) -> f64 {
        let Lengths { input, label, rationale, rationales } = *self.lengths;
        match self.method {
            Method::Standard => input + label,
            Method::StepByStep => (1.0 + rationales) * input + label + rationales * rationale,
            Method::RationaleThenLabel => input + rationale + label,
        }
    }
}

/// Bytes for each parameter. Adafactor keeps a row and a column of each matrix.
fn moments_width(optimizer: Optimizer) -> f64 {
    match optimizer {
        Optimizer::Adamw => 8.0,
        Optimizer::Adafactor => 0.1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::FromScratch;

    const LENGTHS: Lengths = Lengths { input: 100.0, label: 4.0, rationale: 40.0, rationales: 1.0 };

    fn table(shape: &StudentShape, knobs: &Hyperparameters, machine: Option<u64>) -> MemoryTable {
        Asked { shape, method: Method::StepByStep, knobs, lengths: &LENGTHS }.table(machine)
    }

    #[test]
    fn memory_grows_with_the_student_and_the_micro_batch_and_shrinks_with_adafactor() {
        let small = StudentShape::from_scratch(&FromScratch::default());
        let large = StudentShape { parameters: 11_300_000_000, ..small };
        let knobs = Hyperparameters::default();
        let thrifty = Hyperparameters { optimizer: Optimizer::Adafactor, ..knobs.clone() };
        let halved = Hyperparameters { micro_batch_size: Some(8), ..knobs.clone() };
        assert!(table(&small, &knobs, None).activations_bytes > table(&small, &halved, None).activations_bytes);
        // T5-11B with AdamW: weights, moments, best weights, a copy and a gradient are 20 bytes for each parameter.
        assert!(table(&large, &knobs, None).total_bytes > 220_000_000_000);
        assert!(table(&large, &thrifty, None).total_bytes < 145_000_000_000);
    }

    #[test]
    fn a_student_that_is_too_large_is_told_what_fits() {
        let small = StudentShape::from_scratch(&FromScratch::default());
        let large = StudentShape { parameters: 11_300_000_000, ..small };
        let knobs = Hyperparameters { precision: Precision::Fp32, ..Hyperparameters::default() };
        let table = table(&large, &knobs, Some(200_000_000_000));
        assert_eq!(table.fits, Some(false));
        let fitting: Vec<_> = table.alternatives.iter().filter(|one| one.fits == Some(true)).collect();
        assert!(!fitting.is_empty() && fitting.iter().all(|one| one.optimizer == Optimizer::Adafactor), "{fitting:#?}");
    }

    #[test]
    fn the_rows_of_what_was_asked_for_agree() {
        let shape = StudentShape::from_scratch(&FromScratch::default());
        let table = table(&shape, &Hyperparameters::default(), None);
        let asked = table.alternatives[0];
        assert_eq!((asked.optimizer, asked.micro_batch_size), (Optimizer::Adamw, 64));
        assert!(asked.total_bytes.abs_diff(table.total_bytes) < 10, "{table:#?}");
        assert!(table.alternatives.iter().all(|one| one.total_bytes <= asked.total_bytes + 1), "{table:#?}");
    }
}
