//! How often the model was right while it was trained, on which rows, and by whose labels that was judged.

use std::fmt;

use super::Subject;
use crate::domain::{DataSource, LabelSource, Lineage, Measurement, Split, metric};

/// One figure of the card.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What its rows were kept for.
    pub split: Split,
    /// 0..1.
    pub accuracy: f64,
    /// By whose labels.
    pub scored_by: ScoredBy,
    /// Where the rows are from; none where that is not known.
    pub data: Option<String>,
    /// How many rows; none where that is not known.
    count: Option<u64>,
}

/// By whose labels answers were judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoredBy {
    /// People's.
    GroundTruth,
    /// The teacher's.
    Teacher,
    /// People's where a row had one, else the teacher's.
    Both {
        /// Rows that were scored by ground truth.
        by_ground_truth: u64,
        /// Rows that were scored by the teacher's label.
        by_teacher: u64,
    },
    /// It was not written down.
    Unknown,
}

/// What the model's own folder says, else what is kept of it outside.
pub fn figures(subject: &Subject<'_>) -> Vec<Figure> {
    let measured = subject.card.map(|card| card.measured.as_slice()).unwrap_or_default();
    if !measured.is_empty() {
        return measured.iter().map(|found| Figure::measured(found, subject.lineage)).collect();
    }
    // A checkpoint on the way has the figure of the step alone.
    let validation = subject.metric("validation_accuracy").or(subject.metric(metric::LABEL_ACCURACY));
    let kept = [(Split::Validation, validation), (Split::Test, subject.metric("test_accuracy"))];
    kept.into_iter().filter_map(|(split, accuracy)| Some(Figure::kept(split, accuracy?, subject.lineage))).collect()
}

impl Figure {
    fn measured(found: &Measurement, lineage: Option<&Lineage>) -> Self {
        let Measurement { split, accuracy, rows, by_ground_truth } = *found;
        let scored_by = match (by_ground_truth, rows.saturating_sub(by_ground_truth)) {
            (_, 0) => ScoredBy::GroundTruth,
            (0, _) => ScoredBy::Teacher,
            (by_ground_truth, by_teacher) => ScoredBy::Both { by_ground_truth, by_teacher },
        };
        Self { split, accuracy, scored_by, data: data(split, lineage), count: Some(rows) }
    }

    /// A figure that came without the labels that it was judged by: said only where one kind alone was possible.
    fn kept(split: Split, accuracy: f64, lineage: Option<&Lineage>) -> Self {
        let scored_by = match lineage {
            Some(lineage) if lineage.label_source == LabelSource::GroundTruth => ScoredBy::GroundTruth,
            _ => ScoredBy::Unknown,
        };
        Self { split, accuracy, scored_by, data: data(split, lineage), count: None }
    }

    /// Its rows, in words.
    pub fn rows(&self) -> String {
        let mut words = self.split.as_str().to_owned();
        if let Some(data) = &self.data {
            words += &format!(": {data}");
        }
        if let Some(count) = self.count {
            words += &format!(", {count} rows");
        }
        words
    }
}

/// The file of the rows, or the files that they were held back from.
fn data(split: Split, lineage: Option<&Lineage>) -> Option<String> {
    let lineage = lineage?;
    let name = |source: &DataSource| source.filename.clone();
    let held_back = || {
        let files: Vec<String> = lineage.training.iter().map(name).collect();
        format!("held back from {}", files.join(", "))
    };
    match split {
        Split::Validation => {
            lineage.validation.as_ref().map(name).or_else(|| lineage.validation_fraction.map(|_| held_back()))
        }
        Split::Test => lineage.test.as_ref().map(name),
        Split::Train => None,
    }
}

impl ScoredBy {
    /// Whether the teacher's labels were among them.
    pub fn has_teacher(self) -> bool {
        matches!(self, Self::Teacher | Self::Both { .. })
    }
}

impl fmt::Display for ScoredBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GroundTruth => f.write_str("ground truth"),
            Self::Teacher => f.write_str("the teacher's labels"),
            Self::Both { by_ground_truth, by_teacher } => {
                write!(f, "ground truth in {by_ground_truth} rows, the teacher's labels in {by_teacher}")
            }
            Self::Unknown => f.write_str("not recorded"),
        }
    }
}
