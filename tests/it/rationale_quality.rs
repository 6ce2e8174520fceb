//! What the checks of rationales find in every real rationale of the paper's teacher: how many, and whether what they find
//! tells anything about its labels.

use std::collections::{BTreeMap, HashSet};

use stepwise::{
    domain::{AnswerForm, RationaleFault},
    task::{
        answer, builtin,
        rationale_quality::{RationaleChecks, fingerprint},
        scoring,
    },
};

use crate::support::{
    real_rows::{FILES, rows, text},
    shared::shared,
};

/// Rationales and, of those, right labels.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Count {
    rationales: u32,
    right: u32,
}

impl Count {
    fn add(&mut self, is_right: bool) {
        self.rationales += 1;
        self.right += u32::from(is_right);
    }

    fn accuracy(self) -> f64 {
        f64::from(self.right) / f64::from(self.rationales.max(1))
    }
}

/// All rationales of a task's files under `None`, and those with a fault under it. Duplicates are those of one file.
fn counted(name: &str) -> Option<BTreeMap<Option<RationaleFault>, Count>> {
    let (folder, task) = (shared("data")?, builtin::find(name).unwrap());
    let (checks, mut counts) = (RationaleChecks::of(&task), BTreeMap::<_, Count>::new());
    for (file, _) in FILES.into_iter().filter(|(_, of)| *of == name) {
        let mut seen = HashSet::new();
        for row in rows(folder.join(file)) {
            let input = text(&row, "input");
            let read = answer::parse(&task, AnswerForm::RationaleThenLabel, input, text(&row, "llm_output"), false);
            let (Some(label), Some(rationale)) = (read.label, read.rationale) else { continue };
            let is_right = scoring::is_correct(&task, &label, text(&row, "label"));
            let mut faults = checks.faults(input, &label, &rationale);
            faults.extend((!seen.insert(fingerprint(&rationale))).then_some(RationaleFault::Duplicate));
            for fault in faults.into_iter().map(Some).chain([None]) {
                counts.entry(fault).or_default().add(is_right);
            }
        }
    }
    println!("{name}: {counts:#?}");
    Some(counts)
}

/// The share of the rationales with a fault, in percent, is between these.
#[track_caller]
fn shares(counts: &BTreeMap<Option<RationaleFault>, Count>, expected: [(RationaleFault, f64, f64); 5]) {
    let all = counts[&None];
    for (fault, least, most) in expected {
        let found = counts.get(&Some(fault)).copied().unwrap_or_default();
        let share = 100.0 * f64::from(found.rationales) / f64::from(all.rationales);
        assert!((least..=most).contains(&share), "{fault:?}: {share:.2} % of {}", all.rationales);
    }
}

#[test]
fn entailment_is_argued_without_its_names_often_by_copies_and_never_against_itself() {
    let Some(counts) = counted("esnli") else { return };
    shares(
        &counts,
        [
            (RationaleFault::ContradictsLabel, 0.0, 0.1),
            (RationaleFault::RestatesInput, 2.0, 3.0),
            (RationaleFault::RepeatsItself, 0.05, 0.3),
            (RationaleFault::EmptyOfLabel, 0.0, 0.1),
            (RationaleFault::Duplicate, 4.0, 5.5),
        ],
    );
    let Some(counts) = counted("anli") else { return };
    shares(
        &counts,
        [
            (RationaleFault::ContradictsLabel, 0.0, 0.1),
            (RationaleFault::RestatesInput, 0.0, 0.5),
            (RationaleFault::RepeatsItself, 0.0, 0.2),
            (RationaleFault::EmptyOfLabel, 0.0, 0.1),
            (RationaleFault::Duplicate, 0.0, 0.5),
        ],
    );
}

#[test]
fn a_choice_is_seldom_argued_against() {
    let Some(counts) = counted("cqa") else { return };
    shares(
        &counts,
        [
            (RationaleFault::ContradictsLabel, 0.05, 0.4),
            (RationaleFault::RestatesInput, 0.0, 0.1),
            (RationaleFault::RepeatsItself, 0.0, 0.1),
            (RationaleFault::EmptyOfLabel, 0.3, 1.0),
            (RationaleFault::Duplicate, 0.2, 0.7),
        ],
    );
    let (all, against) = (counts[&None], counts[&Some(RationaleFault::ContradictsLabel)]);
    assert!(against.accuracy() < all.accuracy() - 0.2, "{against:?} of {all:?}");
}

#[test]
fn arithmetic_that_comes_to_another_value_is_wrong_much_more_often() {
    let Some(counts) = counted("svamp") else { return };
    shares(
        &counts,
        [
            (RationaleFault::ContradictsLabel, 8.0, 14.0),
            (RationaleFault::RestatesInput, 0.0, 0.3),
            (RationaleFault::RepeatsItself, 0.2, 1.5),
            (RationaleFault::EmptyOfLabel, 0.0, 0.3),
            (RationaleFault::Duplicate, 0.0, 0.3),
        ],
    );
    let (all, against) = (counts[&None], counts[&Some(RationaleFault::ContradictsLabel)]);
    assert!(against.accuracy() < all.accuracy() - 0.2, "{against:?} of {all:?}");
}
