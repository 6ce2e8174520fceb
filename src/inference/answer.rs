//! A question on its way to an answer: the input is read once, labels of a set are weighed, the rest is written.

use std::rc::Rc;

use super::asked::Asked;
use super::consistency;
use super::encoded_inputs::EncodedInputs;
use super::labels::Labels;
use super::spelling::{ScoredToken, spell_all};
use super::{InferenceError, Prediction};
use crate::domain::{Method, shares, single_target};
use crate::student::generation::Generated;
use crate::student::label_tree::{LabelTrees, Wanted};
use crate::student::{Student, scoring};

/// What the student wrote for a label, taken apart.
struct Written {
    label: String,
    rationale: Option<String>,
    tokens: usize,
    complete: bool,
    log_probability: f64,
    spelled: Vec<ScoredToken>,
}

/// A rationale that was learned apart.
struct Explained {
    text: String,
    tokens: usize,
    complete: bool,
}

/// A question and what is known of its answer.
pub(super) struct Answering {
    pub asked: Asked,
    /// What each label of its set counts for: its log-likelihood, less what all have in common.
    scores: Option<Vec<f64>>,
    /// The input, where its labels can be weighed only when the rationale before them is written.
    unweighed_input: Option<EncodedInputs>,
    written: Option<Written>,
    explained: Option<Explained>,
}

/// Questions that have begun.
pub(super) struct Begun {
    /// One a question, in their order.
    pub answering: Vec<Answering>,
    /// Inputs that the student's own words are wanted for.
    pub labels: Option<Joining>,
    /// Inputs that rationales are wanted for, which were learned apart.
    pub rationales: Option<Joining>,
    /// Questions whose labels were weighed, side by side.
    pub weighed: usize,
    /// Inputs that the encoder has read, without those of the rationales.
    pub read: usize,
}

/// Questions that are answered.
pub(super) struct Finished {
    /// One a question, in their order.
    pub predictions: Vec<Result<Prediction, InferenceError>>,
    /// Questions whose labels were weighed only now, side by side.
    pub weighed: usize,
    /// Inputs that the encoder has read, which are those with rationales below them.
    pub read: usize,
}

/// Inputs that something is to be written for.
pub(super) struct Joining {
    /// Their questions, by their places.
    pub places: Vec<usize>,
    /// The inputs.
    pub inputs: EncodedInputs,
}

/// Reads the inputs, and weighs what can be weighed at once; `asked` must not be empty. Panics where the tensor library does.
pub(super) fn begin(student: &Student, asked: Vec<Asked>) -> Begun {
    let inputs = EncodedInputs::new(student, &asked.iter().map(|asked| &asked.input.ids).collect::<Vec<_>>());
    let labels = places(&asked, |asked| asked.generates);
    let labels = labels.map(|places| Joining { inputs: inputs.select(&places), places });
    let rationales = places(&asked, |asked| asked.rationale_input.is_some()).map(|places| {
        let texts: Vec<&Vec<i64>> = asked.iter().filter_map(|asked| asked.rationale_input.as_ref()).collect();
        Joining { inputs: EncodedInputs::new(student, &texts), places }
    });
    let waits = |asked: &Asked| asked.labels.is_some() && student.card.method == Method::RationaleThenLabel;
    let at_once = |asked: &'_ Asked| asked.labels.clone().filter(|_| !waits(asked));
    let labels_at_once: Vec<Option<Rc<Labels>>> = asked.iter().map(at_once).collect();
    let trees = labels_at_once.iter().map(|labels| labels.as_ref().map(|labels| &labels.trees));
    let scores = score(student, &trees.collect::<Vec<_>>(), &inputs);
    let weighed = scores.iter().flatten().count();
    let answering = (0..).zip(asked).zip(scores).map(|((place, asked), scores)| Answering {
        unweighed_input: waits(&asked).then(|| inputs.select(&[place])),
        asked,
        scores,
        written: None,
        explained: None,
    });
    Begun { answering: answering.collect(), labels, rationales, weighed, read: inputs.read }
}

/// Places of the questions that something is wanted for; none where there are none.
fn places(asked: &[Asked], wanted: impl Fn(&Asked) -> bool) -> Option<Vec<usize>> {
    let places: Vec<usize> =
        asked.iter().enumerate().filter(|(_, asked)| wanted(asked)).map(|(place, _)| place).collect();
    (!places.is_empty()).then_some(places)
}

/// One prediction a question whose words are all written. Panics where the tensor library does.
pub(super) fn finish(student: &Student, mut answering: Vec<Answering>) -> Finished {
    let unweighed = answering.iter_mut().filter_map(|one| Some((one.unweighed_input.take()?, one.targets(student))));
    let (inputs, targets): (Vec<_>, Vec<_>) = unweighed.unzip();
    if !inputs.is_empty() {
        let targets: Vec<Option<&LabelTrees>> = targets.iter().map(Option::as_ref).collect();
        let mut scores = score(student, &targets, &EncodedInputs::together(&inputs)).into_iter();
        let weighed = |one: &&mut Answering| one.scores.is_none() && one.asked.labels.is_some();
        answering.iter_mut().filter(weighed).for_each(|one| one.scores = scores.next().flatten());
    }
    let chosen: Vec<_> = answering.iter().map(Answering::choose).collect();
    let (consistency, read) = consistency::consistency(student, &answering, &chosen);
    let whole = answering.into_iter().zip(chosen).zip(consistency);
    let predictions = whole.map(|((one, chosen), consistency)| assemble(student, one, chosen?, consistency));
    Finished { predictions: predictions.collect(), weighed: inputs.len(), read }
}

impl Answering {
    /// The student's own words.
    pub fn write(&mut self, student: &Student, generated: &Generated) {
        let text = student.tokenizer.decode(&generated.ids);
        let single_target = student.card.method == Method::RationaleThenLabel;
        let (rationale, label) = if single_target { single_target::split(&text) } else { (None, text.as_str()) };
        self.written = Some(Written {
            label: label.to_owned(),
            rationale: rationale.map(str::to_owned),
            tokens: generated.ids.len(),
            complete: generated.ids.last() == Some(&student.tokenizer.eos_id()),
            log_probability: generated.log_probability,
            spelled: spell_all(&student.tokenizer, &generated.ids, &generated.scores, (0, usize::MAX)),
        });
    }

    /// A rationale that was learned apart.
    pub fn explain(&mut self, student: &Student, generated: &Generated) {
        self.explained = Some(Explained {
            text: student.tokenizer.decode(&generated.ids),
            tokens: generated.ids.len(),
            complete: generated.ids.last() == Some(&student.tokenizer.eos_id()),
        });
    }

    /// What a student of the single target is asked the likelihood of, label by label: how it would go on after its own
    /// rationale, which all its labels share.
    pub fn targets(&self, student: &Student) -> Option<LabelTrees> {
        let rationale = self.written.as_ref().and_then(|written| written.rationale.as_deref()).unwrap_or("");
        let encode = |label| student.tokenizer.encode(&single_target::join(rationale, label), usize::MAX).ids;
        let targets: Vec<_> = self.asked.labels.as_ref()?.texts.iter().map(|label| encode(label)).collect();
        Some(LabelTrees::new(student.config.decoder_start_token_id, &targets, Wanted::Shares))
    }
}

/// What each label of each input's set counts for; none where it has none.
fn score(student: &Student, sets: &[Option<&LabelTrees>], inputs: &EncodedInputs) -> Vec<Option<Vec<f64>>> {
    let mut scores = vec![None; sets.len()];
    let (rows, sets): (Vec<usize>, Vec<&LabelTrees>) =
        sets.iter().enumerate().filter_map(|(row, set)| Some((row, (*set)?))).unzip();
    if !rows.is_empty() {
        let inputs = inputs.select(&rows);
        let found = scoring::label_scores(&student.model, &inputs.encoded, &inputs.mask, &sets);
        rows.into_iter().zip(found).for_each(|(row, found)| scores[row] = Some(found));
    }
    scores
}

/// The label of a set that was chosen, with each one's share of the likelihood.
pub(super) struct Chosen {
    pub place: usize,
    shares: Vec<f64>,
}

impl Answering {
    /// The likeliest label; none without a set.
    fn choose(&self) -> Result<Option<Chosen>, InferenceError> {
        let Some(scores) = &self.scores else { return Ok(None) };
        let shares = shares(scores, self.asked.temperature.unwrap_or(1.0));
        finite(shares.iter().sum())?;
        Ok(Some(Chosen { place: likeliest(scores), shares }))
    }

    /// What it wrote for a rationale.
    pub fn rationale(&self) -> Option<&str> {
        let apart = self.explained.as_ref().map(|explained| explained.text.as_str());
        apart.or_else(|| self.written.as_ref().filter(|_| self.asked.wants_rationale)?.rationale.as_deref())
    }
}

/// The place of the highest score, of equals the first.
pub(super) fn likeliest(scores: &[f64]) -> usize {
    let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter().position(|score| *score == best).unwrap_or_default()
}

fn assemble(
    student: &Student,
    answering: Answering,
    chosen: Option<Chosen>,
    consistency: Option<bool>,
) -> Result<Prediction, InferenceError> {
    let Answering { asked, mut written, explained, .. } = answering;
    let (label_tokens, label_complete) = match (&chosen, &asked.labels, &written) {
        (Some(chosen), Some(labels), _) if student.card.method != Method::RationaleThenLabel => {
            (labels.lengths[chosen.place], true)
        }
        (.., written) => written.as_ref().map_or((0, true), |written| (written.tokens, written.complete)),
    };
    let (label, confidence, label_probs) = match (chosen, &asked.labels, &written) {
        (Some(Chosen { place, shares }), Some(labels), _) => {
            let probs = labels.texts.iter().cloned().zip(shares.iter().copied()).collect();
            (labels.texts[place].clone(), shares[place], Some(probs))
        }
        (.., Some(written)) => (written.label.clone(), finite(written.log_probability)?.exp(), None),
        (.., None) => unreachable!("without a label set the label is generated"),
    };
    let rationale_tokens = explained.as_ref().map_or(0, |rationale| rationale.tokens);
    let rationale_complete = explained.as_ref().is_none_or(|rationale| rationale.complete);
    let beside_label = written.as_mut().filter(|_| asked.wants_rationale).and_then(|written| written.rationale.take());
    Ok(Prediction {
        label,
        confidence,
        calibrated: label_probs.is_some() && asked.temperature.is_some(),
        label_probs,
        tokens: written.as_mut().map(|written| std::mem::take(&mut written.spelled)).unwrap_or_default(),
        rationale: explained.map(|rationale| rationale.text).or(beside_label),
        consistency,
        input_tokens: asked.input.ids.len() as u64,
        output_tokens: (written.as_ref().map_or(0, |written| written.tokens) + rationale_tokens) as u64,
        answer_tokens: (label_tokens + rationale_tokens) as u64,
        complete: label_complete && rationale_complete,
        truncated: asked.input.truncated,
        generated_label: written.map(|written| written.label),
    })
}

fn finite(number: f64) -> Result<f64, InferenceError> {
    if number.is_finite() { Ok(number) } else { Err(InferenceError::no_numbers()) }
}
