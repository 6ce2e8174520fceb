//! A batch of questions to one student: the input is read once, labels of a set are scored, the rest is generated.

use std::collections::BTreeMap;
use std::rc::Rc;

use tch::Tensor;

use super::asked::Asked;
use super::labels::Labels;
use super::{InferenceError, Prediction};
use crate::domain::{Method, single_target};
use crate::student::batch::pad;
use crate::student::generation::{self, Generated, Lengths};
use crate::student::{Student, scoring};

/// What the student wrote for a label, taken apart.
#[derive(Clone)]
struct Written {
    label: String,
    rationale: Option<String>,
    tokens: usize,
    complete: bool,
    log_probability: f64,
}

/// A rationale that was learned apart.
#[derive(Clone)]
struct Explained {
    text: String,
    tokens: usize,
    complete: bool,
}

/// One answer a question, in their order; `asked` must not be empty. Panics where the tensor library does.
pub(super) fn answer(student: &Student, asked: &[Asked]) -> Vec<Result<Prediction, InferenceError>> {
    let inputs: Vec<Vec<i64>> = asked.iter().map(|asked| asked.input.ids.clone()).collect();
    let (ids, mask) = pad(&inputs, student.tokenizer.pad_id(), student.device);
    let read = Read { encoded: student.model.encode(&ids, &mask), mask };
    let written = write(student, asked, &read);
    let scores = score(student, asked, &read, &written);
    let rationales = explain(student, asked);
    let parts = asked.iter().zip(written).zip(scores).zip(rationales);
    parts.map(|(((asked, written), scores), rationale)| assemble(student, asked, written, scores, rationale)).collect()
}

/// What the encoder made of a batch: (batch, length, d_model) and (batch, length).
struct Read {
    encoded: Tensor,
    mask: Tensor,
}

impl Read {
    fn select(&self, rows: &[usize]) -> Self {
        let rows: Vec<i64> = rows.iter().map(|row| i64::try_from(*row).unwrap_or_default()).collect();
        let rows = Tensor::from_slice(&rows).to_device(self.mask.device());
        Self { encoded: self.encoded.index_select(0, &rows), mask: self.mask.index_select(0, &rows) }
    }
}

/// Places of the questions that something is wanted for.
fn places(asked: &[Asked], wanted: impl Fn(&Asked) -> bool) -> Vec<usize> {
    asked.iter().enumerate().filter(|(_, asked)| wanted(asked)).map(|(place, _)| place).collect()
}

/// The student's own words, where they are wanted.
fn write(student: &Student, asked: &[Asked], read: &Read) -> Vec<Option<Written>> {
    let mut written = vec![None; asked.len()];
    let rows = places(asked, |asked| asked.generates);
    if rows.is_empty() {
        return written;
    }
    let single_target = student.card.method == Method::RationaleThenLabel;
    let lengths: Vec<usize> = rows.iter().map(|row| asked[*row].label_length).collect();
    let most = lengths.iter().copied().max().unwrap_or(1);
    let read = read.select(&rows);
    let enough = |row: usize, said: &[i64]| said.len() >= lengths[row];
    let generated = generation::greedy_from(&student.model, &read.encoded, &read.mask, Lengths::up_to(most), &enough);
    for (row, generated) in rows.into_iter().zip(generated) {
        written[row] = Some(take_apart(student, &generated, single_target));
    }
    written
}

fn take_apart(student: &Student, generated: &Generated, single_target: bool) -> Written {
    let text = student.tokenizer.decode(&generated.ids);
    let (rationale, label) = if single_target { single_target::split(&text) } else { (None, text.as_str()) };
    Written {
        label: label.to_owned(),
        rationale: rationale.map(str::to_owned),
        tokens: generated.ids.len(),
        complete: generated.ids.last() == Some(&student.tokenizer.eos_id()),
        log_probability: generated.log_probability,
    }
}

/// The log-likelihood of each label of a question's set. A student of the single target is asked how it would go on
/// after its own rationale, which all its labels share.
fn score(student: &Student, asked: &[Asked], read: &Read, written: &[Option<Written>]) -> Vec<Option<Vec<f64>>> {
    let mut scores = vec![None; asked.len()];
    // Sets of one size at a time: a shorter set would be filled up to the largest.
    for rows in by_label_count(asked).into_values() {
        let targets =
            rows.iter().filter_map(|row| Some(targets(student, asked[*row].labels.as_ref()?, &written[*row])));
        let labels: Vec<Rc<[Vec<i64>]>> = targets.collect();
        let read = read.select(&rows);
        let found = scoring::label_log_likelihoods(&student.model, &read.encoded, &read.mask, &labels);
        rows.into_iter().zip(found).for_each(|(row, found)| scores[row] = Some(found));
    }
    scores
}

/// What the student is asked the likelihood of, label by label.
fn targets(student: &Student, labels: &Labels, written: &Option<Written>) -> Rc<[Vec<i64>]> {
    let Some(written) = written.as_ref().filter(|_| student.card.method == Method::RationaleThenLabel) else {
        return Rc::clone(&labels.ids);
    };
    let rationale = written.rationale.as_deref().unwrap_or("");
    let encode = |label| student.tokenizer.encode(&single_target::join(rationale, label), usize::MAX).ids;
    labels.texts.iter().map(|label| encode(label)).collect()
}

fn by_label_count(asked: &[Asked]) -> BTreeMap<usize, Vec<usize>> {
    let mut rows: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, labels) in asked.iter().enumerate().filter_map(|(row, asked)| Some((row, asked.labels.as_ref()?))) {
        rows.entry(labels.ids.len()).or_default().push(row);
    }
    rows
}

/// The rationales that are wanted and were learned apart.
fn explain(student: &Student, asked: &[Asked]) -> Vec<Option<Explained>> {
    let mut rationales = vec![None; asked.len()];
    let rows = places(asked, |asked| asked.rationale_input.is_some());
    if rows.is_empty() {
        return rationales;
    }
    let inputs: Vec<Vec<i64>> = asked.iter().filter_map(|asked| asked.rationale_input.clone()).collect();
    let (ids, mask) = pad(&inputs, student.tokenizer.pad_id(), student.device);
    let lengths: Vec<usize> = rows.iter().map(|row| asked[*row].rationale_length).collect();
    let most = lengths.iter().copied().max().unwrap_or(1);
    let enough = |row: usize, said: &[i64]| said.len() >= lengths[row];
    let encoded = student.model.encode(&ids, &mask);
    let generated = generation::greedy_from(&student.model, &encoded, &mask, Lengths::up_to(most), &enough);
    for (row, generated) in rows.into_iter().zip(generated) {
        rationales[row] = Some(Explained {
            text: student.tokenizer.decode(&generated.ids),
            tokens: generated.ids.len(),
            complete: generated.ids.last() == Some(&student.tokenizer.eos_id()),
        });
    }
    rationales
}

fn assemble(
    student: &Student,
    asked: &Asked,
    written: Option<Written>,
    scores: Option<Vec<f64>>,
    rationale: Option<Explained>,
) -> Result<Prediction, InferenceError> {
    let chosen =
        asked.labels.as_ref().zip(scores).map(|(labels, scores)| choose(&labels.texts, &scores)).transpose()?;
    let (label_tokens, label_complete) = match (&chosen, &written) {
        (_, Some(written)) if chosen.is_none() || student.card.method == Method::RationaleThenLabel => {
            (written.tokens, written.complete)
        }
        (chosen, _) => {
            let length = |label: &str| asked.labels.as_ref().map_or(0, |labels| labels.length(label));
            (chosen.as_ref().map_or(0, |(label, ..)| length(label)), true)
        }
    };
    let rationale_complete = rationale.as_ref().is_none_or(|rationale| rationale.complete);
    let (rationale, rationale_tokens) =
        rationale.map_or((None, 0), |rationale| (Some(rationale.text), rationale.tokens));
    let output_tokens = written.as_ref().map_or(0, |written| written.tokens) + rationale_tokens;
    let generated_label = written.as_ref().map(|written| written.label.clone());
    let (label, confidence, label_probs) = match (chosen, &written) {
        (Some(chosen), _) => chosen,
        (None, Some(written)) => (written.label.clone(), finite(written.log_probability)?.exp(), None),
        (None, None) => unreachable!("without a label set the label is generated"),
    };
    Ok(Prediction {
        label,
        generated_label,
        confidence,
        label_probs,
        rationale: rationale.or_else(|| written.filter(|_| asked.wants_rationale)?.rationale),
        input_tokens: asked.input.ids.len() as u64,
        output_tokens: output_tokens as u64,
        answer_tokens: (label_tokens + rationale_tokens) as u64,
        complete: label_complete && rationale_complete,
        truncated: asked.input.truncated,
    })
}

type Choice = (String, f64, Option<BTreeMap<String, f64>>);

/// The likeliest label and each one's share of the likelihood.
fn choose(labels: &[String], scores: &[f64]) -> Result<Choice, InferenceError> {
    let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - best).exp()).collect();
    let total = finite(weights.iter().sum())?;
    let place = scores.iter().position(|score| *score == best).unwrap_or_default();
    let shares: BTreeMap<String, f64> =
        labels.iter().cloned().zip(weights.iter().map(|weight| weight / total)).collect();
    Ok((labels[place].clone(), 1.0 / total, Some(shares)))
}

fn finite(number: f64) -> Result<f64, InferenceError> {
    if number.is_finite() { Ok(number) } else { Err(InferenceError::no_numbers()) }
}
