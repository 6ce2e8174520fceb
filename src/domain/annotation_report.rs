//! What an annotation has found, seen from afar.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AnnotationStatus, LabelHistogram, Percentiles, RationaleFault};

/// What an annotation has found so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AnnotationReport {
    /// Examples by what became of them.
    pub counts: VerdictCounts,
    /// How often the teacher is right; null where no example that is settled has ground truth.
    #[schema(required = true)]
    pub accuracy: Option<TeacherAccuracy>,
    /// How far the samples of the valid examples agree.
    pub agreement: AgreementReport,
    /// The labels of the valid examples.
    pub labels: LabelHistogram,
    /// Unicode characters of the inputs; null without one.
    #[schema(required = true)]
    pub input_characters: Option<Percentiles>,
    /// Unicode characters of the rationales, the first of each example; null without one.
    #[schema(required = true)]
    pub rationale_characters: Option<Percentiles>,
    /// Milliseconds from request to answer, over the calls that were answered; null without one.
    #[schema(required = true)]
    pub latency_ms: Option<Percentiles>,
    /// Requests to the teacher by what became of them.
    pub calls: CallCounts,
    /// Tokens of all prompts that were paid for.
    #[schema(example = 208_000)]
    pub input_tokens: i64,
    /// Tokens of all answers that were paid for.
    #[schema(example = 24_500)]
    pub output_tokens: i64,
    /// Both together for each example; null without one.
    #[schema(required = true, example = 232.5)]
    pub tokens_per_example: Option<f64>,
    /// What the tokens cost; null where nobody here knows the teacher's prices.
    #[schema(required = true, example = 0.66)]
    pub cost_usd: Option<f64>,
    /// What the unknown calls may have cost besides; null where nobody here knows the teacher's prices.
    #[schema(required = true, example = 0.0)]
    pub unknown_cost_usd: Option<f64>,
    /// Why examples are not valid: the ten commonest reasons, the commonest first.
    #[serde(default)]
    pub rejections: Vec<RejectionCount>,
    /// What is wrong with the rationales.
    pub rationales: RationaleReport,
    /// The ten worst cases, taken in turn from these lists, each worst first, so that no kind of them hides another:
    /// `wrong` (the label is not the ground truth; the commonest confusion first), `rejected` (not valid; the commonest reason
    /// first), `disagreement` (valid, and the samples agree least), `rationale` (what is wrong with a rationale; the
    /// commonest fault first). Of the first, the second and the last list each confusion, reason and fault is shown once, by
    /// its first example. An example stands here once.
    pub worst: Vec<WorstCase>,
}

/// Examples by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerdictCounts {
    /// A label was read.
    #[schema(example = 980)]
    pub valid: i64,
    /// No label of the set could be read.
    #[schema(example = 12)]
    pub invalid: i64,
    /// The teacher declined.
    #[schema(example = 3)]
    pub refused: i64,
    /// The answer was cut off at a token limit.
    #[schema(example = 4)]
    pub truncated: i64,
    /// No answer came.
    #[schema(example = 1)]
    pub failed: i64,
    /// All of them.
    #[schema(example = 1000)]
    pub total: i64,
}

impl VerdictCounts {
    /// Counts so many more of a status.
    pub fn add(&mut self, status: AnnotationStatus, count: i64) {
        *match status {
            AnnotationStatus::Valid => &mut self.valid,
            AnnotationStatus::Invalid => &mut self.invalid,
            AnnotationStatus::Refused => &mut self.refused,
            AnnotationStatus::Truncated => &mut self.truncated,
            AnnotationStatus::Failed => &mut self.failed,
        } += count;
        self.total += count;
    }
}

/// How often a teacher is right. An answer that is not valid counts as wrong, and so does one that never came.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TeacherAccuracy {
    /// Examples with ground truth.
    #[schema(example = 1000)]
    pub examples: u64,
    /// Those whose label is the ground truth.
    #[schema(example = 913)]
    pub correct: u64,
    /// Their share, 0..1.
    #[schema(example = 0.913)]
    pub accuracy: f64,
    /// The share's 95 % interval (Wilson's score).
    #[schema(example = json!([0.8938, 0.929]))]
    pub accuracy_ci95: [f64; 2],
}

/// How far samples agree.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgreementReport {
    /// The mean over the valid examples; null without one.
    #[schema(required = true, example = 0.94)]
    pub mean: Option<f64>,
    /// How many examples have each agreement, the least first.
    pub histogram: Vec<AgreementCount>,
}

/// Examples of one agreement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgreementCount {
    /// Share of the samples that say the label.
    #[schema(example = 0.8)]
    pub agreement: f64,
    /// Valid examples of it.
    #[schema(example = 140)]
    pub examples: i64,
}

/// Requests to a teacher by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallCounts {
    /// Answered, and paid for.
    #[schema(example = 1012)]
    pub answered: i64,
    /// Not done by the teacher, and free.
    #[schema(example = 7)]
    pub failed: i64,
    /// Nobody knows whether they were done and paid for.
    #[schema(example = 0)]
    pub unknown: i64,
    /// Not sent: an equal request had been answered.
    #[schema(example = 20)]
    pub reused: i64,
}

/// Examples that are not valid for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RejectionCount {
    /// What became of them.
    pub status: AnnotationStatus,
    /// Why, its first 200 characters; null where nothing is known.
    #[schema(required = true, example = "no label: no line says \"Answer:\"")]
    pub reason: Option<String>,
    /// How many there are.
    #[schema(example = 8)]
    pub examples: i64,
}

/// What is wrong with rationales, as far as that is seen without ground truth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RationaleReport {
    /// Rationales that were looked at, the first of each valid example.
    #[schema(example = 980)]
    pub examined: i64,
    /// Those with a fault.
    #[schema(example = 35)]
    pub faulty: i64,
    /// Rationales by fault. One may have several; the first of equal ones is no duplicate.
    #[schema(value_type = HashMap<String, i64>, example = json!({"contradicts_label": 9, "duplicate": 21, "empty_of_label": 0,
        "repeats_itself": 2, "restates_input": 4}))]
    pub faults: BTreeMap<RationaleFault, i64>,
}

/// An example that went badly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorstCase {
    /// What is bad about it.
    pub why: WorstReason,
    /// The same in words.
    #[schema(example = "the label is \"neutral\" and the ground truth \"entailment\", as with 38 examples")]
    pub message: String,
    /// The example's place in its file, from 0.
    #[schema(example = 117)]
    pub example_index: i64,
    /// The example's id.
    #[schema(example = "line-118")]
    pub example_id: String,
    /// The example's input, its first 500 characters.
    #[schema(example = "Premise: A man plays a guitar. Hypothesis: A man makes music.")]
    pub input: String,
    /// What became of it.
    pub status: AnnotationStatus,
    /// Ground truth, where the file has it.
    #[schema(required = true, example = "entailment")]
    pub label: Option<String>,
    /// The label of most samples.
    #[schema(required = true, example = "neutral")]
    pub teacher_label: Option<String>,
    /// Share of the samples that say it.
    #[schema(required = true, example = 0.6)]
    pub agreement: Option<f64>,
    /// The rationale, its first 500 characters.
    #[schema(required = true, example = "A guitar need not be played to make music.")]
    pub rationale: Option<String>,
    /// The teacher's text, its first 500 characters.
    #[schema(required = true, example = "A guitar need not be played to make music. So the answer is neutral.")]
    pub raw_output: Option<String>,
}

/// What is bad about an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorstReason {
    /// The label is not the ground truth.
    Wrong,
    /// It is not valid.
    Rejected,
    /// Its samples agree less than those of others.
    Disagreement,
    /// Something is wrong with its rationale.
    Rationale,
}
