//! How many training rows a job would learn from, as far as it is known when it is submitted: too few are refused, and some
//! that are lost are told.

use serde_json::json;

use super::data::Wanted;
use crate::{
    api::resolve::{
        Refusals,
        strangers::{Found, code},
    },
    domain::{FileId, FileRows, JobWarning, LabelSource, Method},
};

/// The code of the one warning of this kind.
const LABELS_NOT_LEARNED: &str = "labels_not_learned";

/// The training rows of one source.
pub struct ReadFile {
    pointer: String,
    id: FileId,
    rows: u64,
    /// Those with the label that is learned.
    labeled: u64,
    /// Those with the rationale, where a row is not learned without; else all.
    explained: u64,
    /// Those whose label the task does not know, at least.
    strangers: Found,
}

/// Why most of a file's useless rows are useless.
enum Cause {
    NoLabel,
    NoRationale,
    Stranger,
}

impl ReadFile {
    /// What is known of a source's rows.
    pub fn of(counts: FileRows, wanted: &Wanted<'_>, pointer: &str, id: FileId, strangers: Found) -> Self {
        // One target holds both: without its rationale, a row is not learned at all.
        let needs_both = wanted.method == Method::RationaleThenLabel;
        let explained = if needs_both { counts.with_rationale } else { counts.rows };
        let labeled = counts.labeled_by(wanted.label_source);
        Self { pointer: pointer.to_owned(), id, rows: counts.rows, labeled, explained, strangers }
    }

    /// Rows that can be learned from: at most so many.
    fn usable(&self) -> u64 {
        self.labeled.saturating_sub(self.strangers.rows).min(self.explained)
    }

    fn cause(&self) -> Cause {
        let (unlabeled, unexplained) =
            (self.rows - self.labeled.min(self.rows), self.rows - self.explained.min(self.rows));
        if self.strangers.rows > unlabeled.max(unexplained) {
            Cause::Stranger
        } else if unexplained > unlabeled {
            Cause::NoRationale
        } else {
            Cause::NoLabel
        }
    }

    fn refuse(&self, refusals: &mut Refusals, wanted: &Wanted<'_>) {
        let Self { pointer, id, rows, strangers, .. } = self;
        let (code, field) = match (self.cause(), wanted.label_source) {
            (Cause::Stranger, _) => {
                let (count, most) = (strangers.rows, wanted.max_dropped_ratio);
                let among =
                    format!("{count} of {rows} training rows have such a label; max_dropped_ratio allows {most}");
                return strangers.name_lines(refusals, pointer, *id, &format!(" ({among})"));
            }
            (Cause::NoRationale, _) => ("missing_rationales", "rationale"),
            (Cause::NoLabel, LabelSource::Teacher) => ("missing_teacher_labels", "teacher_label"),
            (Cause::NoLabel, LabelSource::GroundTruth) => ("missing_labels", "label"),
        };
        let detail = format!(
            "{} of {rows} training rows of {id} have no {field:?}; max_dropped_ratio allows {}",
            rows.saturating_sub(self.labeled.min(self.explained)),
            wanted.max_dropped_ratio
        );
        refusals.add(pointer, code, detail);
    }

    fn warning(&self) -> Option<JobWarning> {
        let Self { id, rows, strangers, .. } = self;
        let (line, fault) = strangers.lines.first()?;
        let (count, words) = (strangers.rows, fault.words());
        let message =
            format!("{count} of {rows} training rows of {id} have a label that is not learned: line {line}: {words}");
        let data = json!({"file": id, "rows": rows, "not_learned": count, "reason": code(fault)});
        let data = data.as_object().cloned().unwrap_or_default();
        Some(JobWarning { code: LABELS_NOT_LEARNED.to_owned(), message, data })
    }
}

/// Refuses a job that would learn from too few rows, and warns of labels that it would not learn. The trainer counts over
/// all sources together, and so does this; named are the sources to blame.
pub fn check(refusals: &mut Refusals, wanted: &Wanted<'_>, read: &[ReadFile]) -> Vec<JobWarning> {
    let too_many = |rows: u64, usable: u64| rows.saturating_sub(usable) as f64 > wanted.max_dropped_ratio * rows as f64;
    if too_many(read.iter().map(|file| file.rows).sum(), read.iter().map(ReadFile::usable).sum()) {
        read.iter().filter(|file| too_many(file.rows, file.usable())).for_each(|file| file.refuse(refusals, wanted));
    }
    read.iter().filter_map(ReadFile::warning).collect()
}
