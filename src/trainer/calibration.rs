//! The temperature of a finished student's label probabilities, by the validation rows. They chose its weights as well, so what
//! is found there flatters it a little; the test rows are not looked at.

use std::collections::BTreeMap;
use std::rc::Rc;

use tch::no_grad;

use super::data::Question;
use super::evaluation::{Exam, in_batches};
use super::learner::Learner;
use super::{StopRequest, TrainError};
use crate::domain::{AttemptSpec, Calibration, LabelSet, Method, single_target};
use crate::student::label_tree::{LabelTrees, Wanted};
use crate::student::{T5, scoring};
use crate::task::calibration::{Weighed, calibrate};
use crate::task::{labels, scoring::is_correct};

/// Labels that are weighed, over all rows, at most: one number is fitted, which needs no more.
const MAX_LABELS: usize = 200_000;

/// A row with a label set that its right label is one of.
struct Case {
    labels: Rc<[String]>,
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
    /// Fits the temperature of label probabilities; null where no row has a label set, nothing when it was to stop meanwhile. Rows
    /// that cannot be weighed cost the temperature, and not what was learned before.
    pub fn calibrate(&self, learner: &Learner, spec: &AttemptSpec, stop: &StopRequest) -> Option<Option<Calibration>> {
        let cases = cases(learner, spec, &self.questions);
        if cases.is_empty() {
            return Some(None);
        }
        let rows = cases.len() as u64;
        match self.weighed(cases, learner, spec, stop) {
            Ok(weighed) => Some(Some(calibrate(&weighed?))),
            Err(error) => Some(Some(Calibration::failed(rows, error.to_string()))),
        }
    }

    /// The cases as the student weighs them; nothing when it was to stop meanwhile.
    fn weighed(
        &self,
        cases: BTreeMap<usize, Case>,
        learner: &Learner,
        spec: &AttemptSpec,
        stop: &StopRequest,
    ) -> Result<Option<Vec<Weighed>>, TrainError> {
        let (_, model) = learner.to_compute()?;
        let fixed = match &spec.task.label_set {
            LabelSet::Fixed(labels) if spec.method != Method::RationaleThenLabel => {
                Some(Rc::new(trees(learner, labels.iter().map(String::as_str))))
            }
            _ => None,
        };
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
fn cases(learner: &Learner, spec: &AttemptSpec, questions: &[Question]) -> BTreeMap<usize, Case> {
    let fixed: Option<Rc<[String]>> = match &spec.task.label_set {
        LabelSet::Fixed(labels) => Some(labels.as_slice().into()),
        LabelSet::Open | LabelSet::Choices => None,
    };
    let (mut cases, mut room) = (BTreeMap::new(), MAX_LABELS);
    for (place, question) in questions.iter().enumerate() {
        let listed = || listed(learner, spec, &question.input);
        let Some(labels) = fixed.clone().or_else(listed) else { continue };
        let is_right = |label: &String| is_correct(&spec.task, label, &question.answer);
        let Some(right) = labels.iter().position(is_right) else { continue };
        // A large set is weighed on few rows, but on enough to fit anything.
        if labels.len() > room && cases.len() >= 2 * Calibration::LEAST_ROWS {
            break;
        }
        room = room.saturating_sub(labels.len());
        cases.insert(place, Case { labels, right });
    }
    cases
}

fn listed(learner: &Learner, spec: &AttemptSpec, input: &str) -> Option<Rc<[String]>> {
    let choices = labels::listed_choices(&spec.task, input)?;
    let is_short =
        |choice: &String| learner.tokenizer.encode(choice, usize::MAX).ids.len() <= scoring::MAX_LABEL_TOKENS;
    choices.iter().all(is_short).then(|| choices.into())
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
        let own = |row: &usize| Rc::new(trees(self.learner, self.cases[row].labels.iter().map(String::as_str)));
        rows.iter().map(|row| self.fixed.clone().unwrap_or_else(|| own(row))).collect()
    }

    fn after_rationale(&self, row: usize, answer: &str) -> LabelTrees {
        let rationale = single_target::split(answer).0.unwrap_or("");
        let targets: Vec<String> =
            self.cases[&row].labels.iter().map(|label| single_target::join(rationale, label)).collect();
        trees(self.learner, targets.iter().map(String::as_str))
    }
}

fn trees<'a>(learner: &Learner, texts: impl Iterator<Item = &'a str>) -> LabelTrees {
    let ids: Vec<Vec<i64>> = texts.map(|text| learner.tokenizer.encode(text, usize::MAX).ids).collect();
    LabelTrees::new(learner.config.decoder_start_token_id, &ids, Wanted::Shares)
}
