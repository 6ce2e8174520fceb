//! What a file's rows look like from afar: how long, which labels, how many twice.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Split;

/// The rows of a file that can be read, described. A row that is at odds with an earlier one (`duplicate_id`, `split_leak`) is
/// among them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FileStatistics {
    /// Ground truth.
    pub labels: LabelHistogram,
    /// The teacher's labels.
    pub teacher_labels: LabelHistogram,
    /// How long the inputs are.
    pub input: TextLengths,
    /// How long the labels are, of ground truth where a row has both.
    pub label: TextLengths,
    /// How long the rationales are, all of a row that has several.
    pub rationale: TextLengths,
    /// Rows of each split.
    pub splits: SplitCounts,
    /// Rows of each split with ground truth; null for a file that was stored before this was counted.
    #[serde(default)]
    #[schema(required = true)]
    pub labeled_splits: Option<SplitCounts>,
    /// Rows of each split with a teacher's label; null for a file that was stored before this was counted.
    #[serde(default)]
    #[schema(required = true)]
    pub teacher_labeled_splits: Option<SplitCounts>,
    /// Rows of each split with a rationale; null for a file that was stored before this was counted.
    #[serde(default)]
    #[schema(required = true)]
    pub rationale_splits: Option<SplitCounts>,
    /// Rows whose input an earlier row has.
    #[schema(example = 2)]
    pub duplicate_rows: u64,
    /// Inputs that come with more than one label: at most one of them can be right.
    #[schema(example = 1)]
    pub conflicting_inputs: u64,
}

/// How often each label occurs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LabelHistogram {
    /// The 100 commonest, commonest first.
    pub top: Vec<LabelCount>,
    /// Rows with any other label.
    #[schema(example = 0)]
    pub other_rows: u64,
    /// Different labels seen. Past 10,000 no new one is told apart, nor are labels that begin with the same 200 characters;
    /// then `exact` is false.
    #[schema(example = 3)]
    pub distinct: u64,
    /// Whether every label was counted by itself: there were no more than 10,000, and none was longer than 200 characters.
    #[schema(example = true)]
    pub exact: bool,
}

/// One label and its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LabelCount {
    /// The label; of a longer one its first 200 characters.
    #[schema(example = "entailment")]
    pub label: String,
    /// Rows that have it.
    #[schema(example = 420)]
    pub rows: u64,
}

/// How long the texts of one field are. No tokens: those depend on a model (see the file's statistics by model).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TextLengths {
    /// Rows that have the field; of rationales, how many there are.
    #[schema(example = 1000)]
    pub rows: u64,
    /// Unicode characters; null where no row has the field.
    #[schema(required = true)]
    pub characters: Option<Percentiles>,
    /// Words between white space; null where no row has the field.
    #[schema(required = true)]
    pub words: Option<Percentiles>,
}

/// A distribution of lengths. A percentile is the shortest length that so many percent of the texts do not exceed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Percentiles {
    /// The shortest.
    #[schema(example = 4)]
    pub min: u64,
    /// The median.
    #[schema(example = 61)]
    pub p50: u64,
    /// 90 percent are no longer.
    #[schema(example = 120)]
    pub p90: u64,
    /// 95 percent are no longer.
    #[schema(example = 140)]
    pub p95: u64,
    /// 99 percent are no longer.
    #[schema(example = 200)]
    pub p99: u64,
    /// The longest.
    #[schema(example = 310)]
    pub max: u64,
    /// The mean, to two decimals.
    #[schema(example = 70.25)]
    pub mean: f64,
}

/// Rows by the split that they name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SplitCounts {
    /// Rows without a split.
    #[schema(example = 1000)]
    pub none: u64,
    /// Rows to learn from.
    #[schema(example = 0)]
    pub train: u64,
    /// Rows that choose the weights.
    #[schema(example = 0)]
    pub validation: u64,
    /// Rows for the end.
    #[schema(example = 0)]
    pub test: u64,
}

impl SplitCounts {
    /// Counts a row of this split.
    pub fn take(&mut self, split: Option<Split>) {
        *match split {
            None => &mut self.none,
            Some(Split::Train) => &mut self.train,
            Some(Split::Validation) => &mut self.validation,
            Some(Split::Test) => &mut self.test,
        } += 1;
    }

    /// Rows of these splits, and rows without one, which are everybody's.
    pub fn of(&self, splits: &[Split]) -> u64 {
        let count = |split: &Split| match split {
            Split::Train => self.train,
            Split::Validation => self.validation,
            Split::Test => self.test,
        };
        self.none + splits.iter().map(count).sum::<u64>()
    }
}
