//! Rows that cannot be learned from: counted by reason, the first of each shown, and too many of them refused.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::TrainError;
use super::data::Row;
use crate::domain::{AttemptSpec, Example, Method};
use crate::task::{
    labels,
    scoring::{self, LabelFault},
};

/// Counted under this reason: the row has no label from the label source, or a blank one.
pub const NO_LABEL: &str = "no_label";
/// Counted under this reason: the row has no rationale, and the method needs one.
pub const NO_RATIONALE: &str = "no_rationale";
/// Counted under this reason: the row's label is none that the task allows.
pub const LABEL_NOT_IN_SET: &str = "label_not_in_set";
/// Counted under this reason: answers are compared by value, and the row's label has none.
pub const LABEL_WITHOUT_VALUE: &str = "label_without_value";
/// Counted under this reason: the row has no rationale and is learned for its label alone. Not a dropped row.
pub const LABEL_ONLY: &str = "label_only";
/// Counted under this reason: the row's split keeps it for something else. Left out on purpose, so not a dropped row.
pub const OTHER_SPLIT: &str = "other_split";

/// Rows shown for each reason.
const SHOWN: usize = 3;

/// Rows left out or learned in part.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dropped {
    /// How many, by reason.
    pub counts: BTreeMap<String, u64>,
    /// The first of them, by reason.
    pub shown: BTreeMap<String, Vec<ShownRow>>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownRow {
    /// The row's id.
    pub id: String,
    /// Its label as far as a message shows it; null where it has none.
    pub label: Option<String>,
}

/// The rows that can be learned from, and what became of the others.
pub fn usable(spec: &AttemptSpec, examples: Vec<Example>) -> (Vec<Row>, Dropped) {
    let (mut rows, mut dropped) = (Vec::with_capacity(examples.len()), Dropped::default());
    for example in examples {
        let label = example.label_from(spec.label_source).map(str::to_owned);
        let reason = fault(spec, &example);
        if let Some(reason) = reason {
            dropped.count(reason, &example.id, label.as_deref());
        }
        if reason.is_none_or(|reason| reason == LABEL_ONLY) {
            let rationales = example.rationales().cloned().collect();
            rows.extend(label.map(|label| Row { input: example.input, label, rationales }));
        }
    }
    (rows, dropped)
}

/// What a row lacks.
fn fault(spec: &AttemptSpec, example: &Example) -> Option<&'static str> {
    let Some(label) = example.label_from(spec.label_source) else { return Some(NO_LABEL) };
    if let Some(fault) = scoring::label_fault(&spec.task, &example.input, label) {
        return Some(match fault {
            LabelFault::NotInSet(_) => LABEL_NOT_IN_SET,
            LabelFault::NoValue(_) => LABEL_WITHOUT_VALUE,
        });
    }
    match (spec.method, &example.rationale) {
        (Method::StepByStep, None) => Some(LABEL_ONLY),
        (Method::RationaleThenLabel, None) => Some(NO_RATIONALE),
        _ => None,
    }
}

impl Dropped {
    fn count(&mut self, reason: &str, id: &str, label: Option<&str>) {
        *self.counts.entry(reason.to_owned()).or_default() += 1;
        if reason != LABEL_ONLY {
            let shown = self.shown.entry(reason.to_owned()).or_default();
            if shown.len() < SHOWN {
                let label = label.map(|label| labels::shown(label).to_owned());
                shown.push(ShownRow { id: id.to_owned(), label });
            }
        }
    }

    /// Rows that are not learned from and were meant to be.
    pub fn total(&self) -> u64 {
        self.shown.keys().filter_map(|reason| self.counts.get(reason)).sum()
    }

    /// `no_label: 12 (row "line-7"); label_not_in_set: 3 (row "line-9": "neutral\n\nPre", …)`
    pub fn words(&self) -> String {
        let mut words = String::new();
        for (reason, rows) in &self.shown {
            let count = self.counts.get(reason).copied().unwrap_or_default();
            let separator = if words.is_empty() { "" } else { "; " };
            let rows: Vec<String> = rows.iter().map(ShownRow::words).collect();
            let _ = write!(words, "{separator}{reason}: {count} ({})", rows.join(", "));
        }
        words
    }

    /// Refuses a training that would learn from too few of the rows that were read.
    pub fn refuse_too_many(&self, spec: &AttemptSpec, rows_read: usize) -> Result<(), TrainError> {
        let (dropped, most) = (self.total(), spec.max_dropped_ratio);
        if dropped as f64 <= most * rows_read as f64 {
            return Ok(());
        }
        let words = self.words();
        let message = format!(
            "{dropped} of {rows_read} training rows cannot be used, more than max_dropped_ratio {most}: {words}"
        );
        let hint = "repair the rows, or look how the teacher's answers were read; or raise max_dropped_ratio";
        Err(TrainError::refused("too_many_dropped_rows", message, hint))
    }
}

impl ShownRow {
    fn words(&self) -> String {
        match &self.label {
            Some(label) => format!("row {:?}: {label:?}", self.id),
            None => format!("row {:?}", self.id),
        }
    }
}
