//! What an evaluation found: figures for each model and for the teacher, and how they differ on the same rows.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::FileId;

/// How often one subject was right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Scores {
    /// Rows that it was scored on: those with ground truth.
    #[schema(example = 1000)]
    pub examples: u64,
    /// Rows that it answered rightly.
    #[schema(example = 912)]
    pub correct: u64,
    /// Share of rows that it answered rightly, 0..1: a model in its own words (the paper's figure), the teacher by its
    /// stored labels.
    #[schema(example = 0.912)]
    pub accuracy: f64,
    /// The accuracy's 95 % interval (Wilson's score).
    #[schema(example = json!([0.8928, 0.928]))]
    pub accuracy_ci95: [f64; 2],
    /// Answers that are none of the labels that the row may have; where a task scores arithmetic, answers without a
    /// value. They count as wrong.
    #[schema(example = 3)]
    pub other: u64,
    /// Figures by label, in the task's order; null where the task has no fixed label set.
    pub per_label: Option<Vec<LabelScores>>,
    /// The mean of the labels' F1, each label counting the same; null where the task has no fixed label set.
    #[schema(example = 0.905)]
    pub macro_f1: Option<f64>,
    /// What was answered to what; null where the task has no fixed label set.
    pub confusion: Option<Confusion>,
}

/// How well one label was recognized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LabelScores {
    /// The label.
    #[schema(example = "refund")]
    pub label: String,
    /// Rows whose ground truth it is.
    #[schema(example = 340)]
    pub support: u64,
    /// Right answers among all that say this label, 0..1; null where none says it.
    #[schema(example = 0.94)]
    pub precision: Option<f64>,
    /// Right answers among all rows whose ground truth it is, 0..1; null where there is none.
    #[schema(example = 0.91)]
    pub recall: Option<f64>,
    /// The harmonic mean of both, 0..1; null where the label was neither said nor right.
    #[schema(example = 0.925)]
    pub f1: Option<f64>,
}

/// How often each label was answered where another was right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Confusion {
    /// The rows of `counts`: the ground truth.
    #[schema(example = json!(["refund", "exchange"]))]
    pub labels: Vec<String>,
    /// Answers by ground truth: a row a label, its columns the labels in the same order, and last the answers that are
    /// none of them.
    #[schema(example = json!([[310, 28, 2], [11, 649, 0]]))]
    pub counts: Vec<Vec<u64>>,
}

/// How one model answered the rows of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelEvaluation {
    /// The model's name.
    #[schema(example = "desk")]
    pub model: String,
    /// Its answers in its own words.
    #[serde(flatten)]
    pub scores: Scores,
    /// Rows whose best-scored label is right; null without a label set.
    #[schema(example = 918)]
    pub scored_correct: Option<u64>,
    /// Share of rows whose best-scored label is right, 0..1 (what predictions return); null without a label set.
    #[schema(example = 0.918)]
    pub scored_accuracy: Option<f64>,
    /// The scored accuracy's 95 % interval (Wilson's score).
    #[schema(example = json!([0.8994, 0.9334]))]
    pub scored_accuracy_ci95: Option<[f64; 2]>,
    /// How far the confidence of scored labels is off, 0..1: the expected calibration error over 15 bins of one width (see
    /// `Calibration`), with the model's own temperature where the task's labels are its own. Null without a label set.
    #[serde(default)]
    #[schema(example = 0.024)]
    pub calibration_error: Option<f64>,
    /// Inputs that were longer than the model reads, and were cut.
    #[schema(example = 0)]
    pub truncated_inputs: u64,
    /// Seconds that its answers took.
    #[schema(example = 12.5)]
    pub seconds: f64,
}

/// How the teacher's stored answers do on the same rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TeacherEvaluation {
    /// Its stored labels.
    #[serde(flatten)]
    pub scores: Scores,
    /// Rows without a valid answer of the teacher; they count as wrong, and among `other`.
    #[schema(example = 9)]
    pub unanswered: u64,
}

/// Which accuracy two subjects are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// A model's own words.
    Accuracy,
    /// A model's best-scored label. The teacher has one answer, which stands in both.
    ScoredAccuracy,
}

/// How two subjects differ on the same rows. The p-values are not corrected for the number of pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PairEvaluation {
    /// A model.
    #[schema(example = "desk")]
    pub first: String,
    /// Another model, or `teacher`.
    #[schema(example = "teacher")]
    pub second: String,
    /// Whether `second` is the teacher.
    #[schema(example = true)]
    pub with_teacher: bool,
    /// Which accuracy is compared.
    pub measure: Measure,
    /// The first's accuracy less the second's, -1..1.
    #[schema(example = 0.021)]
    pub difference: f64,
    /// The difference's 95 % interval for paired proportions (Newcombe 1998, method 10).
    #[schema(example = json!([0.0056, 0.0369]))]
    pub difference_ci95: [f64; 2],
    /// Rows that both have right.
    #[schema(example = 871)]
    pub both_correct: u64,
    /// Rows that only the first has right.
    #[schema(example = 41)]
    pub only_first_correct: u64,
    /// Rows that only the second has right.
    #[schema(example = 20)]
    pub only_second_correct: u64,
    /// Rows that neither has right.
    #[schema(example = 68)]
    pub neither_correct: u64,
    /// McNemar's exact two-sided p: how likely so uneven a split of the rows that only one has right would be if both
    /// were equally good.
    #[schema(example = 0.0099)]
    pub mcnemar_p: f64,
}

/// The result of an evaluation job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Evaluation {
    /// The name of the task by which every subject was scored.
    #[schema(example = "returns_desk")]
    pub task: String,
    /// Rows that every subject was scored on: those with ground truth.
    #[schema(example = 1000)]
    pub examples: u64,
    /// Rows that have no ground truth and were left out.
    #[schema(example = 0)]
    pub unlabeled_rows: u64,
    /// Rows whose split keeps them for training and that were left out, as far as the file was read.
    #[serde(default)]
    #[schema(example = 0)]
    pub train_rows: u64,
    /// The accuracy of always answering the commonest label, 0..1.
    #[schema(example = 0.41)]
    pub majority_class_accuracy: f64,
    /// One entry a model, in the order of the request.
    pub models: Vec<ModelEvaluation>,
    /// The teacher's stored answers; null where there are none.
    pub teacher: Option<TeacherEvaluation>,
    /// One entry for each pair of subjects and each accuracy that both have; the teacher comes second.
    pub pairs: Vec<PairEvaluation>,
    /// JSON lines, one a row in the file's order: what each subject answered.
    #[schema(example = "file-0199f3c2a5b87e4d9c1f2a3b4c5d6e7f")]
    pub output_file: FileId,
}
