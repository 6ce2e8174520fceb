//! Rationales with a fault that can be seen without ground truth: left out where the request says so.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::domain::{AttemptSpec, Example, LabelSource, Method, RationaleFault, RationalesPerExample};
use crate::task::rationale_quality::{RationaleChecks, fingerprint};

/// What is left out, and the rationales that were kept so far.
pub(super) struct FaultyRationales<'a> {
    checks: RationaleChecks<'a>,
    unwanted: &'a BTreeSet<RationaleFault>,
    label_source: LabelSource,
    /// Whether only the first good rationale of a row is wanted: the others are not looked at.
    first_only: bool,
    kept: HashSet<u64>,
}

impl<'a> FaultyRationales<'a> {
    pub(super) fn of(spec: &'a AttemptSpec) -> Self {
        const NOTHING: &BTreeSet<RationaleFault> = &BTreeSet::new();
        Self {
            checks: RationaleChecks::of(&spec.task),
            unwanted: if spec.method == Method::Standard { NOTHING } else { &spec.rationales.leave_out },
            label_source: spec.label_source,
            first_only: spec.rationales.per_example == RationalesPerExample::First,
            kept: HashSet::new(),
        }
    }

    /// Takes the row's faulty rationales from it, and counts each by the first of its faults.
    pub(super) fn leave_out(&mut self, example: &mut Example, counts: &mut BTreeMap<String, u64>) {
        if self.unwanted.is_empty() {
            return;
        }
        let label = example.label_from(self.label_source).unwrap_or_default().to_owned();
        let mut good = Vec::new();
        for rationale in example.rationale.take().into_iter().chain(std::mem::take(&mut example.more_rationales)) {
            if self.first_only && !good.is_empty() {
                break;
            }
            match self.fault(&example.input, &label, &rationale) {
                Some(fault) => *counts.entry(format!("rationale_{}", fault.as_str())).or_default() += 1,
                None => good.push(rationale),
            }
        }
        good.into_iter().for_each(|rationale| example.add_rationale(rationale));
    }

    fn fault(&mut self, input: &str, label: &str, rationale: &str) -> Option<RationaleFault> {
        let found = self.checks.faults(input, label, rationale);
        let unwanted = found.into_iter().find(|fault| self.unwanted.contains(fault));
        if unwanted.is_some() || !self.unwanted.contains(&RationaleFault::Duplicate) {
            return unwanted;
        }
        let is_new = self.kept.insert(fingerprint(rationale));
        (!is_new).then_some(RationaleFault::Duplicate)
    }
}
