//! Rows described while they pass, in memory that their number does not make grow. Exact: lengths are counted one by
//! one, and a file of N bytes has at most some sqrt(2 N) different lengths, 46,000 in a gigabyte.

use std::collections::{BTreeMap, HashMap};

use crate::domain::{Example, FileStatistics, LabelCount, LabelHistogram, Percentiles, SplitCounts, TextLengths};

/// Labels listed.
const TOP_LABELS: usize = 100;
/// Different labels counted one by one.
const MAX_DISTINCT: usize = 10_000;
/// Characters of a label that tell it apart.
const LABEL_CHARS: usize = 200;

/// What has been seen of a file's rows.
#[derive(Debug, Default)]
pub struct Describer {
    labels: Labels,
    teacher_labels: Labels,
    input: Texts,
    label: Texts,
    rationale: Texts,
    splits: SplitCounts,
    labeled: SplitCounts,
    teacher_labeled: SplitCounts,
    with_rationale: SplitCounts,
}

impl Describer {
    /// Takes one row.
    pub fn take(&mut self, example: &Example) {
        self.input.take(&example.input);
        for (text, labels) in [(&example.label, &mut self.labels), (&example.teacher_label, &mut self.teacher_labels)] {
            text.iter().for_each(|label| labels.take(label));
        }
        example.label.iter().chain(&example.teacher_label).take(1).for_each(|label| self.label.take(label));
        example.rationales().for_each(|rationale| self.rationale.take(rationale));
        self.splits.take(example.split);
        for (text, counts) in [
            (&example.label, &mut self.labeled),
            (&example.teacher_label, &mut self.teacher_labeled),
            (&example.rationale, &mut self.with_rationale),
        ] {
            text.iter().for_each(|_| counts.take(example.split));
        }
    }

    /// The description, without what only a look at all rows together tells.
    pub fn finish(self) -> FileStatistics {
        FileStatistics {
            labels: self.labels.finish(),
            teacher_labels: self.teacher_labels.finish(),
            input: self.input.finish(),
            label: self.label.finish(),
            rationale: self.rationale.finish(),
            splits: self.splits,
            labeled_splits: Some(self.labeled),
            teacher_labeled_splits: Some(self.teacher_labeled),
            rationale_splits: Some(self.with_rationale),
            duplicate_rows: 0,
            conflicting_inputs: 0,
        }
    }
}

#[derive(Debug, Default)]
struct Labels {
    rows: HashMap<String, u64>,
    /// Rows whose label came when no more could be told apart.
    untold: u64,
    /// Whether a label was longer than what tells it apart.
    was_cut: bool,
}

impl Labels {
    fn take(&mut self, label: &str) {
        let end = label.char_indices().nth(LABEL_CHARS).map_or(label.len(), |(place, _)| place);
        self.was_cut |= end < label.len();
        let is_full = self.rows.len() >= MAX_DISTINCT;
        match self.rows.get_mut(&label[..end]) {
            Some(rows) => *rows += 1,
            None if is_full => self.untold += 1,
            None => drop(self.rows.insert(label[..end].to_owned(), 1)),
        }
    }

    fn finish(self) -> LabelHistogram {
        let distinct = self.rows.len() as u64;
        let mut top: Vec<_> = self.rows.into_iter().map(|(label, rows)| LabelCount { label, rows }).collect();
        top.sort_unstable_by(|one, other| (other.rows, &one.label).cmp(&(one.rows, &other.label)));
        let others = top.split_off(top.len().min(TOP_LABELS));
        let other_rows = others.iter().map(|label| label.rows).sum::<u64>() + self.untold;
        LabelHistogram { top, other_rows, distinct, exact: self.untold == 0 && !self.was_cut }
    }
}

#[derive(Debug, Default)]
struct Texts {
    characters: Lengths,
    words: Lengths,
}

impl Texts {
    fn take(&mut self, text: &str) {
        self.characters.take(text.chars().count());
        self.words.take(text.split_whitespace().count());
    }

    fn finish(&self) -> TextLengths {
        let (characters, words) = (self.characters.percentiles(), self.words.percentiles());
        TextLengths { rows: self.characters.count(), characters, words }
    }
}

/// How often each length occurs.
#[derive(Debug, Clone, Default)]
pub struct Lengths(BTreeMap<u64, u64>);

impl Lengths {
    /// Takes one length.
    pub fn take(&mut self, length: usize) {
        *self.0.entry(length as u64).or_default() += 1;
    }

    /// Lengths taken.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// Lengths above a limit.
    pub fn above(&self, limit: u64) -> u64 {
        self.0.range(limit.saturating_add(1)..).map(|(_, count)| count).sum()
    }

    /// The distribution; none where nothing was taken.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let count = self.count();
        let (min, max) = (*self.0.first_key_value()?.0, *self.0.last_key_value()?.0);
        let sum: u128 = self.0.iter().map(|(length, count)| u128::from(*length) * u128::from(*count)).sum();
        let mean = (sum as f64 / count as f64 * 100.0).round() / 100.0;
        let at = |percent| self.percentile(percent, count);
        Some(Percentiles { min, p50: at(50), p90: at(90), p95: at(95), p99: at(99), max, mean })
    }

    /// Nearest rank: the smallest length that at least so many percent do not exceed.
    fn percentile(&self, percent: u128, count: u64) -> u64 {
        let rank = (u128::from(count) * percent).div_ceil(100);
        let mut seen = 0;
        let reached = self.0.iter().find(|(_, count)| {
            seen += u128::from(**count);
            seen >= rank
        });
        reached.map_or(0, |(length, _)| *length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Split;

    fn lengths(lengths: impl IntoIterator<Item = usize>) -> Lengths {
        let mut found = Lengths::default();
        lengths.into_iter().for_each(|length| found.take(length));
        found
    }

    #[test]
    fn percentiles_are_lengths_that_occur() {
        let found = lengths(1..=100).percentiles().unwrap();
        assert_eq!((found.min, found.p50, found.p90, found.p95, found.p99, found.max), (1, 50, 90, 95, 99, 100));
        assert_eq!(found.mean, 50.5);
        let one = lengths([7]).percentiles().unwrap();
        assert_eq!((one.min, one.p50, one.p99, one.max), (7, 7, 7, 7));
        assert_eq!(lengths([]).percentiles(), None);
        assert_eq!(lengths([1, 2, 3, 3]).above(2), 2);
    }

    #[test]
    fn rows_are_described_by_field() {
        let mut describer = Describer::default();
        for (input, label, teacher_label) in
            [("ä b", Some("yes"), None), ("c", Some("no"), Some("yes")), ("d", None, Some("yes"))]
        {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let (label, teacher_label) = (owned(label), owned(teacher_label));
            describer.take(&Example { input: input.to_owned(), label, teacher_label, ..Example::default() });
        }
        let found = describer.finish();
        assert_eq!(found.input.characters.unwrap().max, 3);
        assert_eq!(found.input.words.unwrap().max, 2);
        assert_eq!((found.label.rows, found.rationale.rows, found.splits.none), (3, 0, 3));
        let top: Vec<_> = found.labels.top.iter().map(|label| (label.label.as_str(), label.rows)).collect();
        assert_eq!((top, found.labels.exact), (vec![("no", 1), ("yes", 1)], true));
        assert_eq!(found.teacher_labels.top[0], LabelCount { label: "yes".to_owned(), rows: 2 });
    }

    #[test]
    fn what_rows_hold_is_counted_by_split() {
        let mut describer = Describer::default();
        for (split, label, teacher_label) in
            [(Some(Split::Train), None, Some("l")), (Some(Split::Test), Some("l"), None), (None, Some("l"), Some("l"))]
        {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let (label, teacher_label) = (owned(label), owned(teacher_label));
            let rationale = teacher_label.clone();
            describer.take(&Example { label, teacher_label, rationale, split, ..Example::default() });
        }
        let found = describer.finish();
        let [labeled, taught] = [found.labeled_splits.unwrap(), found.teacher_labeled_splits.unwrap()];
        assert_eq!((labeled.of(&[Split::Train]), labeled.of(&Split::EVALUATED)), (1, 2));
        assert_eq!((taught.of(&[Split::Train]), taught.of(&Split::EVALUATED)), (2, 1));
        assert_eq!((found.splits.of(&[]), found.splits.of(&Split::ALL)), (1, 3));
        assert_eq!(found.rationale_splits, found.teacher_labeled_splits);
    }

    #[test]
    fn labels_that_begin_alike_for_long_are_one_and_the_count_is_not_exact() {
        let mut labels = Labels::default();
        let same = "s".repeat(LABEL_CHARS);
        labels.take(&same);
        assert!(!labels.was_cut);
        labels.take(&format!("{same}a"));
        labels.take(&format!("{same}b"));
        let found = labels.finish();
        assert_eq!((found.distinct, found.exact, found.top[0].rows), (1, false, 3));
    }

    #[test]
    fn a_file_of_countless_labels_is_described_in_bounded_memory() {
        let mut labels = Labels::default();
        for number in 0..MAX_DISTINCT + 50 {
            labels.take(&format!("{number:0>300}"));
            labels.take(&format!("label {number}"));
        }
        assert_eq!(labels.rows.len(), MAX_DISTINCT);
        let found = labels.finish();
        assert_eq!((found.top.len(), found.distinct, found.exact), (100, 10_000, false));
        let listed: u64 = found.top.iter().map(|label| label.rows).sum();
        assert_eq!(listed + found.other_rows, 2 * (MAX_DISTINCT as u64 + 50));
    }
}
