//! What exams do to a training: they choose the weights that are kept, and may end it.

use serde_json::json;

use super::Training;
use crate::domain::Calibration;
use crate::trainer::evaluation::Exam;
use crate::trainer::snapshot::Standing;
use crate::trainer::{Interrupted, TrainError};

impl Training<'_> {
    /// Examines the student on the validation rows and keeps the best weights. An exam that is interrupted is still due.
    pub fn examine_when_due(&mut self, validation: &Exam) -> Result<(), TrainError> {
        if !self.exam_is_due(validation) {
            return Ok(());
        }
        let step = self.standing.step;
        if let Some(findings) = validation.take(&self.learner, self.given.spec, self.given.stop)? {
            self.reporter.evaluated(step, &findings);
            // Weights that the last step could not be computed with are no place to go back to while others are as good.
            if self.standing.skipped_in_a_row == 0 || self.best.is_beaten_by(findings.accuracy) {
                self.best.offer(step, findings.accuracy, self.learner.parameters.values());
            }
            self.standing.examined_at = step;
            self.found = Some((step, findings.accuracy));
            self.standing.patience.see(findings.accuracy, &self.given.spec.hyperparameters);
            self.stop_when_out_of_patience();
        }
        Ok(())
    }

    fn stop_when_out_of_patience(&mut self) {
        let Some(step) = self.stopped_early_at() else { return };
        let patience = self.given.spec.hyperparameters.early_stopping_patience.unwrap_or_default();
        let steps = self.last_step();
        let message = format!("stops after step {step} of {steps}: {patience} evaluations in a row were no better");
        let data = json!({"step": step, "steps": steps, "early_stopping_patience": patience});
        self.reporter.event("info", "stopped_early", message, data);
        self.reporter.metrics(step, step, self.rate(self.step_of_round() - 1), self.standing.skipped);
        self.reporter.progress(step, self.total_steps());
    }

    /// Whether there is no further step to take.
    pub fn is_over(&self) -> bool {
        self.step_of_round() == self.course.steps || self.stopped_early_at().is_some()
    }

    /// Where the training stops before its last step because its exams became no better.
    pub fn stopped_early_at(&self) -> Option<i64> {
        let Standing { step, patience, .. } = self.standing;
        let stops = step < self.last_step() && patience.is_over(&self.given.spec.hyperparameters);
        stops.then_some(step)
    }

    pub(super) fn exam_is_due(&self, validation: &Exam) -> bool {
        let (step, of_round) = (self.standing.step, self.step_of_round());
        let every = i64::from(self.given.spec.hyperparameters.eval_steps.max(1));
        let is_here = of_round % every == 0 || of_round == self.course.steps;
        is_here && self.standing.examined_at < step && !validation.is_empty()
    }

    /// The accuracy on the test rows; none where there are none.
    pub(super) fn examine_at_the_end(&self, test: &Exam) -> Result<Result<Option<f64>, Interrupted>, TrainError> {
        if test.is_empty() {
            return Ok(Ok(None));
        }
        let findings = test.take(&self.learner, self.given.spec, self.given.stop)?;
        Ok(findings.map(|findings| Some(findings.accuracy)).ok_or(Interrupted))
    }

    /// How far label probabilities can be taken at their word, by the validation rows alone; none where there is nothing to fit.
    pub(super) fn calibrate_at_the_end(&mut self, validation: &Exam) -> Result<Option<Calibration>, Interrupted> {
        let found = validation.calibrate(&self.learner, self.given.spec, self.given.stop)?;
        if let Some(calibration) = &found {
            let (level, code, message) = match calibration {
                Calibration { fault: Some(fault), .. } => {
                    ("warn", "calibration_failed", format!("label probabilities are not calibrated: {fault}"))
                }
                Calibration { temperature: Some(temperature), .. } => {
                    ("info", "calibrated", format!("label probabilities are calibrated: temperature {temperature:.2}"))
                }
                Calibration { rows, .. } => {
                    ("info", "calibrated", format!("too few validation rows to calibrate label probabilities: {rows}"))
                }
            };
            self.reporter.event(level, code, message, json!(calibration));
        }
        Ok(found)
    }
}
