//! Whether a rationale leads its own student to the label that it stands beside. The student is shown the input with the rationale
//! below it, such as it never saw while it learned, and weighs its labels again: that they agree is a hint, and no proof.

use super::InferenceError;
use super::answer::{Answering, Chosen, likeliest};
use super::encoded_inputs::EncodedInputs;
use crate::domain::Method;
use crate::student::label_tree::LabelTrees;
use crate::student::{Student, scoring};

/// A question that is asked again.
struct Again<'a> {
    place: usize,
    chosen: usize,
    input: Vec<i64>,
    answering: &'a Answering,
}

/// One answer a question, in their order; none where nobody asked, and where nothing can be compared. With them how many inputs the
/// encoder has read. Panics where the tensor library does.
pub(super) fn consistency(
    student: &Student,
    answering: &[Answering],
    chosen: &[Result<Option<Chosen>, InferenceError>],
) -> (Vec<Option<bool>>, usize) {
    let again = answering.iter().zip(chosen).enumerate();
    let again = again.filter_map(|(place, (one, chosen))| {
        let chosen = chosen.as_ref().ok()?.as_ref()?.place;
        Some(Again { place, chosen, input: input(student, one)?, answering: one })
    });
    let again: Vec<Again<'_>> = again.collect();
    let mut found = vec![None; answering.len()];
    if again.is_empty() {
        return (found, 0);
    }
    let inputs = EncodedInputs::new(student, &again.iter().map(|again| &again.input).collect::<Vec<_>>());
    for (again, scores) in again.iter().zip(weigh(student, &inputs, &again)) {
        let is_known = scores.iter().all(|score| score.is_finite());
        found[again.place] = is_known.then(|| likeliest(&scores) == again.chosen);
    }
    (found, inputs.read)
}

/// The input with the rationale below it; none where it would be cut, because what is cut then is the rationale.
fn input(student: &Student, one: &Answering) -> Option<Vec<i64>> {
    let text = format!("{}\n{}", one.asked.consistency_input.as_ref()?, one.rationale()?);
    let encoded = student.tokenizer.encode(&text, student.card.max_input_length as usize);
    (!encoded.truncated).then_some(encoded.ids)
}

fn weigh(student: &Student, inputs: &EncodedInputs, again: &[Again<'_>]) -> Vec<Vec<f64>> {
    let is_single = student.card.method == Method::RationaleThenLabel;
    let after_rationale = |again: &Again<'_>| if is_single { again.answering.targets(student) } else { None };
    let after_rationale: Vec<Option<LabelTrees>> = again.iter().map(after_rationale).collect();
    let own = again.iter().map(|again| again.answering.asked.labels.as_ref().map(|labels| &labels.trees));
    let sets = after_rationale
        .iter()
        .zip(own)
        .map(|(after, own)| after.as_ref().or(own).expect("a label was chosen from the set"));
    scoring::label_scores(&student.model, &inputs.encoded, &inputs.mask, &sets.collect::<Vec<_>>())
}
