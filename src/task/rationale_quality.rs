//! What is wrong with a rationale, found without knowing the right answer. Each rule errs towards finding nothing: a filter
//! that throws good rationales away costs more than one that leaves a bad one in.

mod arithmetic;
mod named_labels;
mod words;

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

use self::named_labels::Name;
use self::words::{sentences, words};
use super::labels;
use crate::domain::{Annotation, LabelSet, RationaleFault, RationaleKeeping, Scorer, TaskDefinition};

/// Words of the sequences that are looked for in the input: shorter ones are shared by texts about the same thing.
const RESTATED_WORDS: usize = 3;
/// A rationale restates its input when so large a share of its sequences stands there: of the paper's teacher's that is 2 %
/// for e-SNLI, copies of a premise or hypothesis, and next to none elsewhere.
const RESTATED_SHARE: f64 = 0.9;
/// Sequences that a rationale must have for that: `A man is outside.` has two of its own by chance.
const MIN_RESTATED: usize = 4;
/// Words of a sentence that may not come twice: shorter ones come twice in honest arithmetic.
const REPEATED_SENTENCE_WORDS: usize = 5;
/// Words of the sequences that may not come again and again.
const REPEATED_WORDS: usize = 4;
/// A sequence comes again and again from here on; `the answer must be …, only … is …` says most of them twice.
const REPEATED_TIMES: usize = 3;
/// A rationale repeats itself when so large a share of its sequences does.
const REPEATED_SHARE: f64 = 0.3;
/// Sequences that a rationale must have for that.
const MIN_REPEATED: usize = 8;
/// A reason has so many words, or so many bytes of words: Chinese needs three bytes for a word and has no spaces.
const MIN_WORDS: usize = 3;
const MIN_BYTES: usize = 9;
/// Words that state an answer and no reason.
const STATING: [&str; 9] = ["so", "therefore", "the", "answer", "label", "is", "it", "this", "that"];

/// The checks of one task's rationales.
#[derive(Debug)]
pub struct RationaleChecks<'a> {
    task: &'a TaskDefinition,
    /// The labels of a fixed set.
    names: Vec<Name>,
}

impl<'a> RationaleChecks<'a> {
    /// The checks of a task; made once, because a set may have a thousand labels.
    pub fn of(task: &'a TaskDefinition) -> Self {
        let labels = match &task.label_set {
            LabelSet::Fixed(labels) => labels.as_slice(),
            LabelSet::Open | LabelSet::Choices => &[],
        };
        Self { task, names: labels.iter().map(|label| Name::of(label)).collect() }
    }

    /// The faults of the first rationale of an annotation, held against the label that it was kept for; `None` where it has none.
    pub fn of_annotation(&self, keeping: RationaleKeeping, annotation: &Annotation) -> Option<Vec<RationaleFault>> {
        let truth = annotation.label.as_deref().filter(|_| keeping != RationaleKeeping::All);
        let label = truth.or(annotation.teacher_label.as_deref()).unwrap_or_default();
        annotation.rationale.as_ref().map(|rationale| self.faults(&annotation.input, label, rationale))
    }

    /// What is wrong with a rationale that leads from `input` to `label`. Duplicates are found by [`fingerprint`] over many.
    pub fn faults(&self, input: &str, label: &str, rationale: &str) -> Vec<RationaleFault> {
        let said = words(rationale);
        let found = [
            (self.contradicts(input, label, rationale), RationaleFault::ContradictsLabel),
            (restates(&words(input), &said), RationaleFault::RestatesInput),
            (repeats(rationale, &said), RationaleFault::RepeatsItself),
            (self.is_empty_of(label, rationale, &said), RationaleFault::EmptyOfLabel),
        ];
        found.into_iter().filter_map(|(is_there, fault)| is_there.then_some(fault)).collect()
    }

    fn contradicts(&self, input: &str, label: &str, rationale: &str) -> bool {
        match (&self.task.label_set, self.task.scorer) {
            (LabelSet::Fixed(_), _) => named_labels::contradicts(&self.names, label, rationale),
            (LabelSet::Choices, _) => {
                let names: Vec<Name> = labels::choices(input).iter().map(|choice| Name::of(choice)).collect();
                named_labels::contradicts(&names, label, rationale)
            }
            (LabelSet::Open, Scorer::Arithmetic) => arithmetic::contradicts(label, rationale),
            (LabelSet::Open, Scorer::ExactMatch) => false,
        }
    }

    fn is_empty_of(&self, label: &str, rationale: &str, said: &[String]) -> bool {
        let of_label = words(label);
        let is_no_reason = |word: &String| STATING.contains(&word.as_str()) || of_label.contains(word);
        let bytes: usize = said.iter().map(String::len).sum();
        if said.len() < MIN_WORDS && bytes < MIN_BYTES || said.iter().all(is_no_reason) {
            return true;
        }
        match (&self.task.label_set, self.task.scorer) {
            (LabelSet::Choices, _) => !named_labels::mentions_part(label, said),
            (LabelSet::Open, Scorer::Arithmetic) => !arithmetic::names_a_number(label, rationale),
            // A label such as `contradiction` or `refund` says what the reasons are for, and need not stand among them.
            (LabelSet::Fixed(_), _) | (LabelSet::Open, Scorer::ExactMatch) => false,
        }
    }
}

/// The same number for rationales of the same words, whatever their case, space and punctuation: the first 8 bytes of a
/// SHA-256.
pub fn fingerprint(rationale: &str) -> u64 {
    let digest = Sha256::digest(words(rationale).join(" "));
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn restates(asked: &[String], said: &[String]) -> bool {
    let known: HashSet<&[String]> = asked.windows(RESTATED_WORDS).collect();
    let count = said.windows(RESTATED_WORDS).count();
    let restated = said.windows(RESTATED_WORDS).filter(|words| known.contains(words)).count();
    count >= MIN_RESTATED && restated as f64 >= RESTATED_SHARE * count as f64
}

fn repeats(rationale: &str, said: &[String]) -> bool {
    let mut seen = HashSet::new();
    let sentences = sentences(rationale).into_iter().filter(|words| words.len() >= REPEATED_SENTENCE_WORDS);
    if !sentences.into_iter().all(|sentence| seen.insert(sentence)) {
        return true;
    }
    let mut times: HashMap<&[String], usize> = HashMap::new();
    said.windows(REPEATED_WORDS).for_each(|words| *times.entry(words).or_default() += 1);
    let count: usize = times.values().sum();
    let repeated: usize = times.values().filter(|times| **times >= REPEATED_TIMES).sum();
    count >= MIN_REPEATED && repeated as f64 > REPEATED_SHARE * count as f64
}

#[cfg(test)]
#[path = "rationale_quality_tests.rs"]
mod tests;
