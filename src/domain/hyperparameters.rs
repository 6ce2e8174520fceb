//! The knobs of training; defaults are those of the paper's research code unless a comment says why not.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::PartLengths;

/// The rule by which weights follow gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Adam with decoupled weight decay.
    Adamw,
    /// Factored second moments; less memory.
    Adafactor,
}

/// How the learning rate moves after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Falls linearly to 0.
    Linear,
    /// Stays.
    Constant,
    /// Falls along half a cosine to 0.
    Cosine,
}

/// The arithmetic of a step. Never fp16: T5 overflows in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// `bf16` where the processor multiplies it natively, else `fp32`.
    Auto,
    /// fp32 master weights, bf16 matrix products.
    Bf16,
    /// fp32 throughout.
    Fp32,
}

/// Which checkpoints of a training are kept, beside those that an alias points to or a job uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeepCheckpoints {
    /// So many of the newest, at least 1.
    #[schema(example = 2)]
    pub last: u32,
    /// So many of the most accurate on the validation rows, at least 1; the later of equals. A checkpoint has an accuracy
    /// where `checkpoint_every` meets `eval_steps`.
    #[schema(example = 1)]
    pub best: u32,
}

impl Default for KeepCheckpoints {
    fn default() -> Self {
        Self { last: 2, best: 1 }
    }
}

/// Everything that shapes a training besides its data. A field left out takes the default shown in its line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Hyperparameters {
    /// Peak learning rate; null: 5e-5, or 1e-2 with `scale_by_weight` (a student from scratch).
    pub learning_rate: Option<f64>,
    /// Course of the learning rate after warm-up.
    pub schedule: Schedule,
    /// Steps in which the learning rate rises linearly: in the first one it is the peak divided by their number.
    pub warmup_steps: u32,
    /// Decoupled weight decay; norms and position biases do not decay, as with Hugging Face's Trainer.
    pub weight_decay: f64,
    /// Gradients whose norm is above this are scaled down to it; 0 turns clipping off.
    pub clip_norm: f64,
    /// Examples in one optimizer step.
    pub batch_size: u32,
    /// Examples computed at once; null: as many as `batch_size`. Does not change the mathematics.
    pub micro_batch_size: Option<u32>,
    /// Optimizer steps; null: from `epochs`.
    pub max_steps: Option<u32>,
    /// Passes over the training rows, when `max_steps` is null; both null: 10,000 steps.
    pub epochs: Option<f64>,
    /// Steps between evaluations on the validation rows.
    pub eval_steps: u32,
    /// Validation rows looked at in each evaluation during training; null: all.
    pub eval_rows: Option<u32>,
    /// Stop after so many evaluations in a row without a better accuracy; null: never. The learning rate's course is that of
    /// all steps nonetheless.
    #[schema(example = 5)]
    pub early_stopping_patience: Option<u32>,
    /// A better accuracy is better by more than this, from 0 to less than 1.
    #[schema(example = 0.001)]
    pub early_stopping_min_delta: f64,
    /// Steps between metric reports.
    pub log_every: u32,
    /// Steps between the snapshots that a training writes on its own, from which another worker continues when its own
    /// one dies: so many steps are lost at most. 0: none; one is still written when the job is paused or its worker
    /// stops.
    #[schema(example = 500)]
    pub snapshot_every: u32,
    /// Steps between checkpoints that can be asked for by name while the training goes on; 0: none.
    #[schema(example = 500)]
    pub checkpoint_every: u32,
    /// Which of these are kept.
    pub keep_checkpoints: KeepCheckpoints,
    /// Tokens of an input that are read; null: nothing is cut up to the research code's 1024.
    pub max_input_length: Option<u32>,
    /// Tokens of a label that are learned and generated; null: nothing is cut up to the research code's 256, and what is
    /// generated ends soon after the length of the longest label.
    pub max_label_length: Option<u32>,
    /// Tokens of a rationale that are learned and generated; null: as for a label.
    pub max_rationale_length: Option<u32>,
    /// Dropout probability; null: the student's own configuration.
    pub dropout: Option<f64>,
    /// Arithmetic of a step.
    pub precision: Precision,
    /// Rule by which weights follow gradients.
    pub optimizer: Optimizer,
    /// Scale each weight's step by that weight's root mean square (Adafactor's rule). T5's initial weights differ in
    /// size by orders of magnitude, so a student from scratch does not learn without it; null: true from scratch only.
    pub scale_by_weight: Option<bool>,
    /// Weight of the mutual-information loss of label and rationale (Chen et al., 2024, arXiv 2403.03348, who use 0.1); 0: off.
    /// Only `step_by_step` has it. Takes the memory of a micro-batch's logits several times over.
    #[schema(example = 0.1)]
    pub mutual_information_weight: f64,
    /// Keep only what goes into each layer and compute the rest again for the gradient: less memory, a third more time.
    /// Does not change the mathematics.
    #[schema(example = false)]
    pub gradient_checkpointing: bool,
    /// Share of the training rows to use, in (0, 1].
    pub train_fraction: f64,
    /// Seed of data order, dropout and initial weights; and of what chooses among the training rows: `train_fraction`,
    /// shuffled rationales.
    pub seed: u64,
    /// Seeds to train under, one after the other, instead of `seed`, which then chooses among the training rows alone: all
    /// learn from the same. The result has each of them with the mean and its standard error, and the model is the one that is
    /// best on the validation rows. Null: `seed` alone.
    #[schema(example = json!([0, 1, 2]))]
    pub seeds: Option<Vec<u64>>,
    /// Processor threads; null: the worker's own setting.
    pub threads: Option<u32>,
}

/// Optimizer steps when a request names neither steps nor epochs: the research code's.
const DEFAULT_STEPS: u32 = 10_000;

impl Hyperparameters {
    /// Peak learning rate of a pre-trained student, unless a request says otherwise: the paper's.
    pub const PRETRAINED_RATE: f64 = 5e-5;

    /// Processor threads that may be asked for; beyond any machine, and below what a thread pool dies of.
    pub const MAX_THREADS: u32 = 1024;

    /// The longest input that is read and the longest targets that are learned, unless a request says otherwise: the research
    /// code's.
    pub const LONGEST: PartLengths = PartLengths { input: 1024, label: 256, rationale: 256 };

    /// The seeds to train under, at least one.
    pub fn seeds(&self) -> Vec<u64> {
        self.seeds.clone().filter(|seeds| !seeds.is_empty()).unwrap_or_else(|| vec![self.seed])
    }

    /// The lengths at which texts are cut.
    pub fn limits(&self) -> PartLengths {
        PartLengths {
            input: self.max_input_length.unwrap_or(Self::LONGEST.input),
            label: self.max_label_length.unwrap_or(Self::LONGEST.label),
            rationale: self.max_rationale_length.unwrap_or(Self::LONGEST.rationale),
        }
    }

    /// Optimizer steps over this many training rows, at least 1.
    pub fn steps(&self, rows: usize) -> i64 {
        let by_epochs = |epochs: f64| (epochs * rows as f64 / f64::from(self.batch_size)).ceil() as i64;
        let steps = match (self.max_steps, self.epochs) {
            (Some(steps), _) => i64::from(steps),
            (None, Some(epochs)) => by_epochs(epochs),
            (None, None) => i64::from(DEFAULT_STEPS),
        };
        steps.max(1)
    }
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Self {
            learning_rate: None,
            schedule: Schedule::Linear,
            warmup_steps: 0,
            weight_decay: 0.0,
            clip_norm: 1.0,
            batch_size: 64,
            micro_batch_size: None,
            max_steps: None,
            epochs: None,
            eval_steps: 250,
            eval_rows: None,
            early_stopping_patience: None,
            early_stopping_min_delta: 0.0,
            log_every: 10,
            snapshot_every: 500,
            checkpoint_every: 0,
            keep_checkpoints: KeepCheckpoints::default(),
            max_input_length: None,
            max_label_length: None,
            max_rationale_length: None,
            dropout: None,
            precision: Precision::Auto,
            optimizer: Optimizer::Adamw,
            scale_by_weight: None,
            mutual_information_weight: 0.0,
            gradient_checkpointing: false,
            train_fraction: 1.0,
            seed: 0,
            seeds: None,
            threads: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_earlier_specs_are_those_that_were_asked_for() {
        let read = |text: &str| serde_json::from_str::<Hyperparameters>(text).unwrap().limits();
        let earlier = read(r#"{"max_input_length": 96, "max_label_length": 256, "max_rationale_length": 64}"#);
        assert_eq!(earlier, PartLengths { input: 96, label: 256, rationale: 64 });
        assert_eq!(read("{}"), Hyperparameters::LONGEST);
        assert_eq!(read(r#"{"max_input_length": null}"#), Hyperparameters::LONGEST);
    }
}
