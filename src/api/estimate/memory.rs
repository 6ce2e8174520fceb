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
/// Numbers that the loss of mutual information keeps for each logit.
const LOGITS_KEPT: f64 = 3.0;
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

impl Lengths {
    /// Tokens that one example costs in a step: each target comes with an input of its own.
    pub fn tokens_of_example(&self, method: Method) -> f64 {
        match method {
            Method::Standard => self.input + self.label,
            Method::StepByStep => self.input + self.label + self.rationales * (self.input + self.rationale),
            Method::RationaleThenLabel => self.rationales * (self.input + self.rationale + self.label),
        }
    }
}

impl Asked<'_> {
    /// Peak memory by its parts; `machine` is what the trainer's machine has, where that is known.
    pub fn table(&self, machine: Option<u64>) -> MemoryTable {
        let parts = self.parts();
        let fits = machine.map(|machine| parts.total_bytes <= machine);
        MemoryTable { machine_bytes: machine, fits, alternatives: self.alternatives(machine), ..parts }
    }

    fn parts(&self) -> MemoryTable {
        let parameters = self.shape.parameters as f64;
        let bytes = |for_each: f64| (for_each * parameters) as u64;
        let mut table = MemoryTable {
            weights_bytes: bytes(4.0),
            gradients_bytes: bytes(self.gradient_width()),
            optimizer_bytes: bytes(moments_width(self.knobs.optimizer)),
            compute_copies_bytes: bytes(if self.is_bf16() { 2.0 } else { 0.0 }),
            best_weights_bytes: bytes(self.best_width()),
            activations_bytes: (f64::from(self.micro_batch()) * (self.activations() + self.logits())) as u64,
            program_bytes: PROGRAM_BYTES as u64,
            ..MemoryTable::default()
        };
        table.total_bytes = table.parts();
        table
    }

    fn alternatives(&self, machine: Option<u64>) -> Vec<MemoryAlternative> {
        let mut sizes: Vec<u32> = SHARES.iter().map(|share| (self.micro_batch() / share).max(1)).collect();
        sizes.dedup();
        let mut found = Vec::new();
        for optimizer in [Optimizer::Adamw, Optimizer::Adafactor] {
            for gradient_checkpointing in [false, true] {
                for &micro_batch_size in &sizes {
                    let micro = Some(micro_batch_size);
                    let knobs = self.knobs.clone();
                    let knobs = Hyperparameters { optimizer, gradient_checkpointing, micro_batch_size: micro, ..knobs };
                    let total_bytes = Asked { knobs: &knobs, ..*self }.parts().total_bytes;
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

    fn micro_batch(&self) -> u32 {
        self.knobs.micro_batch_size.unwrap_or(self.knobs.batch_size).max(1)
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
    fn gradient_width(&self) -> f64 {
        let own = if self.is_bf16() { 2.0 } else { 4.0 };
        if self.micro_batch() < self.knobs.batch_size { own + 4.0 } else { own }
    }

    /// Bytes that one example keeps for the backward pass. With gradient checkpointing, a layer keeps what goes into it, and
    /// one layer at a time all of it.
    fn activations(&self) -> f64 {
        let (stream, forward) = (self.shape.d_model as f64, self.shape.d_ff as f64);
        let number = if self.is_bf16() { 2.0 } else { 4.0 };
        let whole = STREAM_WIDTHS * stream + FORWARD_WIDTHS * forward;
        let layers = self.shape.layers as f64 / 2.0;
        let kept = if self.knobs.gradient_checkpointing { layers * stream + whole } else { layers * whole };
        LONGEST * number * self.lengths.tokens_of_example(self.method) * kept
    }

    /// Bytes of one example's logits over the vocabulary, in fp32. Only the loss of mutual information has them whole: they,
    /// their softmax and its gradient.
    fn logits(&self) -> f64 {
        let is_used = self.method == Method::StepByStep && self.knobs.mutual_information_weight > 0.0;
        let Lengths { label, rationale, rationales, .. } = *self.lengths;
        let numbers = self.shape.vocabulary as f64 * (label + rationales * rationale);
        if is_used { LONGEST * LOGITS_KEPT * 4.0 * numbers } else { 0.0 }
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
    fn every_rationale_of_an_example_takes_memory() {
        let (shape, knobs) = (StudentShape::from_scratch(&FromScratch::default()), Hyperparameters::default());
        let activations = |method, rationales| {
            let lengths = Lengths { rationales, ..LENGTHS };
            Asked { shape: &shape, method, knobs: &knobs, lengths: &lengths }.table(None).activations_bytes
        };
        let thrice = |method| activations(method, 3.0) as f64 / activations(method, 1.0) as f64;
        assert!((thrice(Method::RationaleThenLabel) - 3.0).abs() < 1e-3, "each is a target of its own, with an input");
        assert!((thrice(Method::StepByStep) - 524.0 / 244.0).abs() < 1e-3);
        assert!((thrice(Method::Standard) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_loss_of_mutual_information_keeps_logits_over_the_whole_vocabulary() {
        let shape = StudentShape::from_scratch(&FromScratch::default());
        let with = |weight| Hyperparameters { mutual_information_weight: weight, ..Hyperparameters::default() };
        let more =
            table(&shape, &with(0.1), None).activations_bytes - table(&shape, &with(0.0), None).activations_bytes;
        assert!(more > 3 * 4 * 64 * 44 * shape.vocabulary, "{more}");
        let standard = |weight| {
            Asked { shape: &shape, method: Method::Standard, knobs: &with(weight), lengths: &LENGTHS }.table(None)
        };
        assert_eq!(standard(0.1), standard(0.0), "it is not computed there");
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
        assert_eq!(asked.total_bytes, table.total_bytes, "{table:#?}");
        assert!(table.alternatives.iter().all(|one| one.total_bytes <= asked.total_bytes), "{table:#?}");
    }
}
