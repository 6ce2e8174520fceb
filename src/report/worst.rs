//! The worst cases of an annotation: from four lists in turn, so that a thousand failed calls do not hide the one confusion
//! that spoils the student.

use std::collections::{HashMap, HashSet};

use crate::{
    domain::{JobId, WorstCase, WorstReason},
    store::{Faulty, LabelPair, Rejections, ShownExample, Store, StoreError},
};

/// How many are shown.
pub(super) const CASES: usize = 10;

/// An example and what is bad about it.
#[derive(Debug, Clone, PartialEq)]
struct Case {
    place: i64,
    why: WorstReason,
    message: String,
}

/// The ten worst cases.
pub(super) async fn cases(
    store: &Store,
    job: JobId,
    wrong: &[LabelPair],
    rejections: &[Rejections],
    faults: &[Faulty],
) -> Result<Vec<WorstCase>, StoreError> {
    let least = store.least_agreed(job, CASES as i64).await?;
    let lists = [
        wrong.iter().map(of_pair).collect(),
        rejections.iter().map(of_rejections).collect(),
        least.iter().map(|&place| of_disagreement(place)).collect(),
        faults.iter().map(of_fault).collect(),
    ];
    let chosen = in_turn(lists);
    let places: Vec<i64> = chosen.iter().map(|case| case.place).collect();
    let shown = store.examples_at(job, &places).await?;
    let mut shown: HashMap<i64, ShownExample> = shown.into_iter().map(|one| (one.example_index, one)).collect();
    // What was deleted meanwhile, by a retry, is not shown.
    Ok(chosen.into_iter().filter_map(|case| Some(whole(shown.remove(&case.place)?, case))).collect())
}

/// The first of each list, then the second of each, and so on; an example that stands in several is taken once.
fn in_turn(lists: [Vec<Case>; 4]) -> Vec<Case> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or_default();
    let ranked = (0..longest).flat_map(|rank| lists.iter().filter_map(move |list| list.get(rank)));
    let mut taken = HashSet::new();
    ranked.filter(|case| taken.insert(case.place)).take(CASES).cloned().collect()
}

fn of_pair(pair: &LabelPair) -> Case {
    let said = pair.teacher_label.as_deref().unwrap_or_default();
    let message =
        format!("the label is {said:?} and the ground truth {:?}{}", pair.label, as_with(pair.examples, "examples"));
    Case { place: pair.first, why: WorstReason::Wrong, message }
}

fn of_rejections(rejections: &Rejections) -> Case {
    let alike = &rejections.alike;
    let reason = alike.reason.as_deref().unwrap_or("no reason is known");
    let message = format!("{}: {reason}{}", alike.status.as_str(), as_with(alike.examples, "examples"));
    Case { place: rejections.first, why: WorstReason::Rejected, message }
}

fn of_disagreement(place: i64) -> Case {
    Case { place, why: WorstReason::Disagreement, message: "its samples agree less than those of others".to_owned() }
}

fn of_fault(faulty: &Faulty) -> Case {
    let message = format!("the rationale: {}{}", faulty.fault.as_str(), as_with(faulty.rationales, "rationales"));
    Case { place: faulty.first, why: WorstReason::Rationale, message }
}

fn as_with(count: i64, what: &str) -> String {
    if count > 1 { format!(", as with {count} {what} in all") } else { String::new() }
}

fn whole(shown: ShownExample, case: Case) -> WorstCase {
    WorstCase {
        why: case.why,
        message: case.message,
        example_index: shown.example_index,
        example_id: shown.example_id,
        input: shown.input,
        status: shown.status,
        label: shown.label,
        teacher_label: shown.teacher_label,
        agreement: shown.agreement,
        rationale: shown.rationale,
        raw_output: shown.raw_output,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(why: WorstReason, places: &[i64]) -> Vec<Case> {
        places.iter().map(|&place| Case { place, why, message: String::new() }).collect()
    }

    #[test]
    fn the_lists_take_turns_and_an_example_stands_once() {
        let lists = [
            list(WorstReason::Wrong, &[7]),
            list(WorstReason::Rejected, &[1, 2, 3, 4, 5, 6, 8, 9, 10]),
            list(WorstReason::Disagreement, &[7, 11, 12]),
            list(WorstReason::Rationale, &[11]),
        ];
        let taken: Vec<(i64, WorstReason)> = in_turn(lists).into_iter().map(|case| (case.place, case.why)).collect();
        let places: Vec<i64> = taken.iter().map(|(place, _)| *place).collect();
        assert_eq!(places, [7, 1, 11, 2, 3, 12, 4, 5, 6, 8]);
        assert_eq!(taken[2].1, WorstReason::Rationale, "it stands in the list whose turn came first");
    }
}
