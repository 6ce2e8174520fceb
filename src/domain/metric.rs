//! Names of the figures that a job reports; every store, dashboard and page uses these.

use super::AnnotationStatus;

/// Weighted sum of the tasks' losses.
pub const LOSS: &str = "loss";
/// Mean token cross-entropy of the label task.
pub const LABEL_LOSS: &str = "label_loss";
/// Mean token cross-entropy of the rationale task.
pub const RATIONALE_LOSS: &str = "rationale_loss";
/// Mean loss that makes label and rationale about the same words, where it counts for something.
pub const MUTUAL_INFORMATION_LOSS: &str = "mutual_information_loss";
/// The step's learning rate.
pub const LEARNING_RATE: &str = "learning_rate";
/// Norm of all gradients before clipping.
pub const GRADIENT_NORM: &str = "gradient_norm";
/// Training examples a second.
pub const EXAMPLES_PER_SECOND: &str = "examples_per_second";
/// Input and target tokens a second, padding left out.
pub const TOKENS_PER_SECOND: &str = "tokens_per_second";
/// Peak resident memory of the training process.
pub const MEMORY_BYTES: &str = "memory_bytes";
/// Share of validation rows whose generated label is the one that they are scored by, 0..1.
pub const LABEL_ACCURACY: &str = "label_accuracy";
/// Optimizer steps left out because a loss or gradient was not finite.
pub const SKIPPED_STEPS: &str = "skipped_steps";

/// An annotation's answers so far, by what became of them; the step is the number of settled examples.
pub const ANSWERS: [(AnnotationStatus, &str); 5] = [
    (AnnotationStatus::Valid, "valid_answers"),
    (AnnotationStatus::Invalid, "invalid_answers"),
    (AnnotationStatus::Refused, "refused_answers"),
    (AnnotationStatus::Truncated, "truncated_answers"),
    (AnnotationStatus::Failed, "failed_answers"),
];
/// Tokens of an annotation's prompts so far, by the teacher's count.
pub const INPUT_TOKENS: &str = "input_tokens";
/// Tokens of an annotation's answers so far, by the teacher's count.
pub const OUTPUT_TOKENS: &str = "output_tokens";
/// What an annotation's answers cost so far.
pub const COST_USD: &str = "cost_usd";
/// Calls to the teacher that were answered so far.
pub const ANSWERED_CALLS: &str = "answered_calls";
/// Calls to the teacher that failed so far, and cost nothing.
pub const FAILED_CALLS: &str = "failed_calls";
/// Calls to the teacher of which nobody knows whether they were done.
pub const UNKNOWN_CALLS: &str = "unknown_calls";
/// Answers that were taken from the ledger instead.
pub const REUSED_CALLS: &str = "reused_calls";
/// Tokens paid for, in and out, for each example that has a verdict.
pub const TOKENS_PER_EXAMPLE: &str = "tokens_per_example";

/// OpenAI's name for a figure where it has one for the same thing, else its own. The loss of all tasks together is its
/// `train_loss`; accuracies here are those of whole labels, so none has the name of an accuracy of tokens.
pub fn openai_name(name: &str) -> &str {
    if name == LOSS { "train_loss" } else { name }
}
