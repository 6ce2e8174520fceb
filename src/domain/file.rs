//! An uploaded or produced file and what was found in its lines.

use std::{collections::BTreeMap, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{FileId, FileStatistics, LabelSource, ProjectId, Split, SplitCounts};

/// What a file is for (OpenAI's Files API).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Examples to annotate, to train on or to test on.
    FineTune,
    /// Examples to test on.
    Evals,
    /// Anything; lines are checked as examples too.
    #[serde(rename = "user_data")]
    UserData,
    /// Written by an annotation or an evaluation.
    #[serde(rename = "batch_output")]
    BatchOutput,
    /// A distillation's figures by step, as CSV.
    FineTuneResults,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 5] = [Self::FineTune, Self::Evals, Self::UserData, Self::BatchOutput, Self::FineTuneResults];

    /// The purpose's name in SQL and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FineTune => "fine-tune",
            Self::Evals => "evals",
            Self::UserData => "user_data",
            Self::BatchOutput => "batch_output",
            Self::FineTuneResults => "fine-tune-results",
        }
    }

    /// Whether only jobs write such files.
    pub fn is_written_by_jobs(self) -> bool {
        matches!(self, Self::BatchOutput | Self::FineTuneResults)
    }
}

impl FromStr for Purpose {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|purpose| purpose.as_str() == name);
        found.ok_or_else(|| format!("unknown purpose {name:?}; use fine-tune, evals or user_data"))
    }
}

/// Whether a file's lines can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileStatus {
    /// Every line is good.
    Processed,
    /// Some line is bad; no job takes the file.
    Error,
}

impl FileStatus {
    /// The status's name in SQL and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Error => "error",
        }
    }
}

/// What is wrong with one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LineError {
    /// The line's number, from 1.
    pub line: u64,
    /// A stable name to branch on, such as `missing_field`.
    pub code: String,
    /// The field at fault; null where it is the whole line.
    pub field: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
    /// The line's first 80 characters.
    pub snippet: String,
}

/// What was found in a file's lines.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Validation {
    /// Lines that are not blank.
    pub rows: u64,
    /// Lines without an error.
    pub valid_rows: u64,
    /// Lines with ground truth, of all that can be read: one that is at odds with an earlier line (`duplicate_id`, `split_leak`)
    /// is among them.
    pub labeled_rows: u64,
    /// Lines with a teacher's label, of all that can be read.
    pub teacher_labeled_rows: u64,
    /// Lines with a rationale, of all that can be read.
    pub rationale_rows: u64,
    /// The first 100 errors; in a list of files the first one.
    pub errors: Vec<LineError>,
    /// Whether there are more.
    pub errors_truncated: bool,
    /// How many errors there are of each code, over all lines.
    #[serde(default)]
    #[schema(example = json!({"missing_field": 3}))]
    pub error_counts: BTreeMap<String, u64>,
    /// What the lines that can be read hold; null in a list of files, and for a file that was stored before this was looked
    /// at.
    #[serde(default)]
    #[schema(required = true)]
    pub statistics: Option<FileStatistics>,
}

/// Rows that a job reads of a file, by what they hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileRows {
    /// All of them.
    pub rows: u64,
    /// Those with ground truth.
    pub labeled: u64,
    /// Those with a teacher's label.
    pub teacher_labeled: u64,
    /// Those with a rationale.
    pub with_rationale: u64,
}

impl FileRows {
    /// Rows with a label of this source.
    pub fn labeled_by(&self, source: LabelSource) -> u64 {
        match source {
            LabelSource::Teacher => self.teacher_labeled,
            LabelSource::GroundTruth => self.labeled,
        }
    }
}

impl Validation {
    /// What the rows of these splits and those without a split hold. A file that was stored before this was counted gives
    /// the most that it can be: better a job that fails later than one that is refused wrongly.
    pub fn rows_of(&self, splits: &[Split]) -> FileRows {
        let found = self.statistics.as_ref();
        let rows = found.map_or(self.valid_rows, |found| found.splits.of(splits));
        let count =
            |by_split: Option<SplitCounts>, all: u64| by_split.map_or(all.min(rows), |counts| counts.of(splits));
        FileRows {
            rows,
            labeled: count(found.and_then(|found| found.labeled_splits), self.labeled_rows),
            teacher_labeled: count(found.and_then(|found| found.teacher_labeled_splits), self.teacher_labeled_rows),
            with_rationale: count(found.and_then(|found| found.rationale_splits), self.rationale_rows),
        }
    }
}

/// A stored file.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// Its id.
    pub id: FileId,
    /// The project it belongs to.
    pub project_id: ProjectId,
    /// The name it was uploaded under; never a path.
    pub filename: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Its size.
    pub bytes: i64,
    /// The digest of its bytes, in hexadecimal.
    pub sha256: String,
    /// Whether its lines can be used.
    pub status: FileStatus,
    /// What was found in its lines.
    pub validation: Validation,
    /// Where its bytes lie in the artifact store.
    pub artifact_key: String,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// When it goes away by itself; a job that is not over holds on to it.
    pub expires_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_from_before_rows_were_counted_by_split_gives_the_most_that_it_can_be() {
        let splits = SplitCounts { none: 10, train: 690, validation: 0, test: 300 };
        let newer = FileStatistics {
            splits,
            labeled_splits: Some(SplitCounts { none: 4, train: 0, validation: 0, test: 300 }),
            ..FileStatistics::default()
        };
        let older = FileStatistics { splits, ..FileStatistics::default() };
        let counted = |statistics: Option<FileStatistics>| {
            let found = Validation { valid_rows: 1000, labeled_rows: 304, statistics, ..Validation::default() };
            let train = found.rows_of(&[Split::Train]);
            (train.rows, train.labeled, found.rows_of(&[Split::Validation, Split::Test]).labeled)
        };
        assert_eq!(counted(Some(newer)), (700, 4, 304));
        assert_eq!(counted(Some(older)), (700, 304, 304));
        assert_eq!(counted(None), (1000, 304, 304));
    }
}
