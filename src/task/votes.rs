//! Several answers to one question: which label most of them give, and which rationales argue for what.
//! Self-consistency (Wang et al., 2023, arXiv 2203.11171).

use super::{answer::ParsedAnswer, majority::meaning, scoring};
use crate::domain::{RationaleKeeping, TaskDefinition};

/// The label that most answers give.
#[derive(Debug, Clone, PartialEq)]
pub struct Vote {
    /// The label, as the earliest of its answers writes it.
    pub label: String,
    /// The places of its answers, in order.
    pub places: Vec<usize>,
    /// Their share of all answers, those without a label included, in (0, 1].
    pub agreement: f64,
}

/// Counts labels by what they mean to the task's scorer, so that `(3 + 4)` and `7` are one. Of equally many the label wins
/// that the earliest answer gives: no chance, and no order of arrival, decides. `None` where no answer has a label.
pub fn count(task: &TaskDefinition, answers: &[ParsedAnswer]) -> Option<Vote> {
    let mut labels: Vec<(String, Vec<usize>)> = Vec::new();
    for (place, answer) in answers.iter().enumerate() {
        let Some(label) = &answer.label else { continue };
        let meaning = meaning(task, label);
        match labels.iter_mut().find(|(known, _)| *known == meaning) {
            Some((_, places)) => places.push(place),
            None => labels.push((meaning, vec![place])),
        }
    }
    // In the order of their first answers, so that the first of the longest is the earliest.
    let most = labels.iter().map(|(_, places)| places.len()).max()?;
    let (_, places) = labels.into_iter().find(|(_, places)| places.len() == most)?;
    let label = answers[places[0]].label.clone()?;
    let agreement = places.len() as f64 / answers.len() as f64;
    Some(Vote { label, places, agreement })
}

/// The rationales to keep, each once, in the order of the answers.
pub fn kept_rationales(
    task: &TaskDefinition,
    keeping: RationaleKeeping,
    ground_truth: Option<&str>,
    vote: &Vote,
    answers: &[ParsedAnswer],
) -> Vec<String> {
    let argues = |place: usize, answer: &ParsedAnswer| match (keeping, ground_truth) {
        (RationaleKeeping::All, _) | (_, None) => vote.places.contains(&place),
        (_, Some(truth)) => answer.label.as_deref().is_some_and(|label| scoring::is_correct(task, label, truth)),
    };
    let mut kept: Vec<String> = Vec::new();
    for (place, answer) in answers.iter().enumerate() {
        let rationale = answer.rationale.as_ref().filter(|_| argues(place, answer));
        if let Some(rationale) = rationale.filter(|rationale| !kept.contains(rationale)) {
            kept.push(rationale.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::AnnotationStatus, task::builtin};

    fn answers(given: &[(&str, &str)]) -> Vec<ParsedAnswer> {
        let answer = |(label, rationale): &(&str, &str)| ParsedAnswer {
            status: if label.is_empty() { AnnotationStatus::Invalid } else { AnnotationStatus::Valid },
            label: (!label.is_empty()).then(|| (*label).to_owned()),
            rationale: (!rationale.is_empty()).then(|| (*rationale).to_owned()),
            reason: label.is_empty().then(|| "it has no label".to_owned()),
        };
        given.iter().map(answer).collect()
    }

    fn voted(task: &str, given: &[(&str, &str)]) -> (String, Vec<usize>, f64) {
        let vote = count(&builtin::find(task).unwrap(), &answers(given)).unwrap();
        (vote.label, vote.places, vote.agreement)
    }

    #[test]
    fn the_label_of_most_answers_wins_and_answers_without_one_do_not_agree() {
        assert_eq!(voted("text", &[("a", ""), ("b", ""), ("b", ""), ("", "")]), ("b".into(), vec![1, 2], 0.5));
        assert_eq!(voted("text", &[("", ""), ("", ""), ("a", "")]), ("a".into(), vec![2], 1.0 / 3.0));
        assert_eq!(count(&builtin::find("text").unwrap(), &answers(&[("", ""), ("", "")])), None);
    }

    #[test]
    fn a_tie_goes_to_the_earliest_answer() {
        assert_eq!(voted("text", &[("b", ""), ("a", ""), ("a", ""), ("b", "")]).0, "b");
        assert_eq!(voted("text", &[("", ""), ("a", ""), ("b", "")]).0, "a");
    }

    #[test]
    fn equations_of_one_value_are_one_label() {
        let given = [("(3 + 4)", ""), ("(8 - 2)", ""), ("(14 / 2)", "")];
        assert_eq!(voted("svamp", &given), ("(3 + 4)".into(), vec![0, 2], 2.0 / 3.0));
    }

    #[test]
    fn rationales_are_kept_for_the_label_or_for_the_truth() {
        let task = builtin::find("text").unwrap();
        let given = answers(&[("a", "first"), ("b", "other"), ("a", "second"), ("a", "first"), ("", "lost")]);
        let vote = count(&task, &given).unwrap();
        let kept = |keeping, truth| kept_rationales(&task, keeping, truth, &vote, &given);
        assert_eq!(kept(RationaleKeeping::All, Some("b")), ["first", "second"]);
        assert_eq!(kept(RationaleKeeping::CorrectOnly, Some("b")), ["other"]);
        assert_eq!(kept(RationaleKeeping::CorrectOnly, Some("a")), ["first", "second"]);
        assert_eq!(kept(RationaleKeeping::Rationalize, None), ["first", "second"]);
        assert!(kept(RationaleKeeping::CorrectOnly, Some("c")).is_empty());
    }
}
