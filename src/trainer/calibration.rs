//! The temperature of a finished student's label probabilities, by the validation rows. They chose its weights as well, so what
//! is found there flatters it a little; the test rows are not looked at.

use std::collections::BTreeMap;
use std::rc::Rc;

use tch::no_grad;

use super::data::Question;
use super::evaluation::{Exam, in_batches};
use super::learner::Learner;
use super::{Interrupted, StopRequest, TrainError};
use crate::domain::{AttemptSpec, Calibration, LabelSet, Method, single_target};
use crate::student::label_tree::{LabelTrees, Wanted};
use crate::student::{T5, scoring};
use crate::task::calibration::{Weighed, calibrate};
use crate::task::{labels, scoring::is_correct};

/// Labels that are weighed, over all rows, at most: one number is fitted, which needs no more.
const MAX_LABELS: usize = 200_000;

/// A label set, as it is written and as the student reads it.
struct Labels {
    texts: Vec<String>,
    ids: Vec<Vec<i64>>,
}

impl Labels {
    fn new(learner: &Learner, texts: Vec<String>) -> Self {
        let ids = texts.iter().map(|text| learner.tokenizer.encode(text, usize::MAX).ids).collect();
        Self { texts, ids }
    }

    fn trees(&self, learner: &Learner) -> LabelTrees {
        LabelTrees::new(learner.config.decoder_start_token_id, &self.ids, Wanted::Shares)
    }
}

/// A row with a label set that its right label is one of.
struct Case {
    labels: Rc<Labels>,
    right: usize,
}

/// Weighs rows as the finished student will be asked to.
struct Weighing<'a> {
    exam: &'a Exam,
    learner: &'a Learner,
    model: &'a T5,
    spec: &'a AttemptSpec,
    cases: BTreeMap<usize, Case>,
    /// Those of a fixed set, which is the same for all rows.
    fixed: Option<Rc<LabelTrees>>,
}

impl Exam {
    /// Fits the temperature of label probabilities; none where no row has a label set. Rows that cannot be weighed cost the
    /// temperature, and not what was learned before.
    ///
    /// # Errors
    /// [`Interrupted`] when it was to stop meanwhile.
    pub fn calibrate(
        &self,
        learner: &Learner,
        spec: &AttemptSpec,
        stop: &StopRequest,
    ) -> Result<Option<Calibration>, Interrupted> {
        let fixed = fixed(learner, spec);
        let cases = cases(learner, spec, &self.questions, fixed.as_ref());
        if cases.is_empty() {
            return Ok(None);
        }
        let rows = cases.len() as u64;
        match self.weighed((cases, fixed), learner, spec, stop) {
            Ok(Some(weighed)) => Ok(Some(calibrate(&weighed))),
            Ok(None) => Err(Interrupted),
            Err(error) => Ok(Some(Calibration::failed(rows, error.to_string()))),
        }
    }

    /// The cases as the student weighs them; nothing when it was to stop meanwhile.
    fn weighed(
        &self,
        (cases, fixed): (BTreeMap<usize, Case>, Option<Rc<Labels>>),
        learner: &Learner,
        spec: &AttemptSpec,
        stop: &StopRequest,
    ) -> Result<Option<Vec<Weighed>>, TrainError> {
        let (_, model) = learner.to_compute()?;
        let fixed = fixed.filter(|_| spec.method != Method::RationaleThenLabel);
        let fixed = fixed.map(|labels| Rc::new(labels.trees(learner)));
        let rows: Vec<usize> = self.by_length.iter().copied().filter(|row| cases.contains_key(row)).collect();
        let weighing = Weighing { exam: self, learner, model: &model, spec, cases, fixed };
        let Some(weighed) = in_batches(&rows, stop, |rows| weighing.weigh(rows))? else { return Ok(None) };
        // In the rows' own order, so that sums do not depend on how they were put into batches.
        let weighed: BTreeMap<usize, Weighed> = weighed.into_iter().collect();
        Ok(Some(weighed.into_values().collect()))
    }
}

/// The first rows that can be weighed, by their places. A row whose label is none of the set says nothing of their shares, and
/// one that lists a choice longer than is ever weighed is never asked.
fn cases(
    learner: &Learner,
    spec: &AttemptSpec,
    questions: &[Question],
    fixed: Option<&Rc<Labels>>,
) -> BTreeMap<usize, Case> {
    let (mut cases, mut room) = (BTreeMap::new(), MAX_LABELS);
    for (place, question) in questions.iter().enumerate() {
        let listed = || listed(learner, spec, &question.input);
        let Some(labels) = fixed.cloned().or_else(listed) else { continue };
        let is_right = |label: &String| is_correct(&spec.task, label, &question.answer);
        let Some(right) = labels.texts.iter().position(is_right) else { continue };
        // A large set is weighed on few rows, but on enough to fit anything.
        if labels.texts.len() > room && cases.len() >= 2 * Calibration::LEAST_ROWS {
            break;
        }
        room = room.saturating_sub(labels.texts.len());
        cases.insert(place, Case { labels, right });
    }
    cases
}

/// The labels of the task, where they are the same for all rows.
fn fixed(learner: &Learner, spec: &AttemptSpec) -> Option<Rc<Labels>> {
    match &spec.task.label_set {
        LabelSet::Fixed(labels) => Some(Rc::new(Labels::new(learner, labels.clone()))),
        LabelSet::Open | LabelSet::Choices => None,
    }
}

fn listed(learner: &Learner, spec: &AttemptSpec, input: &str) -> Option<Rc<Labels>> {
    let choices = Labels::new(learner, labels::listed_choices(&spec.task, input)?);
    choices.ids.iter().all(|ids| ids.len() <= scoring::MAX_LABEL_TOKENS).then(|| Rc::new(choices))
}

impl Weighing<'_> {
    fn weigh(&self, rows: &[usize]) -> Vec<Weighed> {
        let sets = self.sets(rows);
        let sets: Vec<&LabelTrees> = sets.iter().map(AsRef::as_ref).collect();
        let (input_ids, mask) = self.exam.padded(self.learner, rows);
        let encoded = no_grad(|| self.model.encode(&input_ids, &mask));
        let scores = scoring::label_scores(self.model, &encoded, &mask, &sets);
        scores.into_iter().zip(rows).map(|(scores, row)| Weighed { scores, right: self.cases[row].right }).collect()
    }

    /// What each row's labels are weighed as: a student of the single target is asked how it would go on after its own rationale.
    fn sets(&self, rows: &[usize]) -> Vec<Rc<LabelTrees>> {
        if self.spec.method == Method::RationaleThenLabel {
            let answers = self.exam.answer(self.learner, self.model, rows);
            return rows
                .iter()
                .zip(answers)
                .map(|(row, answer)| Rc::new(self.after_rationale(*row, &answer)))
                .collect();
        }
        let own = |row: &usize| Rc::new(self.cases[row].labels.trees(self.learner));
        rows.iter().map(|row| self.fixed.clone().unwrap_or_else(|| own(row))).collect()
    }

    fn after_rationale(&self, row: usize, answer: &str) -> LabelTrees {
        let rationale = single_target::split(answer).0.unwrap_or("");
        let targets = self.cases[&row].labels.texts.iter().map(|label| single_target::join(rationale, label));
        Labels::new(self.learner, targets.collect()).trees(self.learner)
    }
}
