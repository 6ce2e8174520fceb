//! A training between its start and its end: what one step, one exam and one snapshot do to it.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use super::best::Best;
use super::evaluation::Exam;
use super::learner::{self, Learner};
use super::lessons::Lesson;
use super::loss::{self, LossSettings, StepLoss};
use super::optimizer::{Update, clip};
use super::report::Reporter;
use super::schedule::Course;
use super::snapshot::{Conditions, Snapshot, SnapshotError, Standing};
use super::texts::Texts;
use super::{StopRequest, TrainError};
use crate::{
    device,
    domain::{AttemptSpec, AttemptStudent, LearnedTexts, Split},
};

/// An attempt that cannot compute this many steps in a row is lost.
const MOST_NON_FINITE_STEPS: u32 = 20;
/// Snapshots left in the attempt's folder: the newest, and the one that its parent may be about to claim.
const SNAPSHOTS_LEFT: usize = 2;

/// What a training is given.
#[derive(Clone, Copy)]
pub struct Assignment<'a> {
    /// The attempt's folder.
    pub folder: &'a Path,
    /// What to do.
    pub spec: &'a AttemptSpec,
    /// Whether to go on.
    pub stop: &'a StopRequest,
    /// How long its texts are.
    pub texts: Texts,
}

/// Everything that changes while a student learns.
pub struct Training<'a> {
    /// The student.
    pub learner: Learner,
    /// Where the training stands.
    pub standing: Standing,
    given: Assignment<'a>,
    course: Course,
    loss: LossSettings,
    update: Update,
    best: Best,
    reporter: Reporter<'a>,
    began: Instant,
    /// Where a snapshot was taken last, or continued from.
    snapshot_at: i64,
    snapshots: Vec<String>,
    /// The step of the last exam of this attempt, and what it found.
    found: Option<(i64, f64)>,
}

impl<'a> Training<'a> {
    /// A training before its first step.
    pub fn new(
        given: Assignment<'a>,
        course: Course,
        learner: Learner,
        update: Update,
        reporter: Reporter<'a>,
    ) -> Self {
        Self {
            loss: LossSettings::new(given.spec, &learner.config),
            standing: Standing::default(),
            best: Best::default(),
            began: Instant::now(),
            snapshot_at: 0,
            snapshots: Vec::new(),
            found: None,
            given,
            course,
            learner,
            update,
            reporter,
        }
    }

    /// Says what will be done.
    pub fn announce(&mut self, rows: Value) {
        let learner = &self.learner;
        let (parameters, steps) = (learner.parameters.count(), self.course.steps);
        let LearnedTexts { max_lengths, truncated } = self.given.texts.learned();
        let arithmetic = device::words(learner.kind, learner.device);
        let message = format!("{steps} steps of a student with {parameters} parameters, in {arithmetic}");
        let data = json!({
            "rows": rows,
            "max_lengths": max_lengths,
            "truncated": truncated,
            "steps": steps,
            "parameters": parameters,
            "vocabulary_size": learner.config.vocab_size,
        });
        self.reporter.event("info", "training_started", message, data);
    }

    /// Goes on where an interrupted training stood; the student has its weights already.
    pub fn resume(&mut self, snapshot: Snapshot) -> Result<(), TrainError> {
        let wrong = |name| SnapshotError::damaged("optimizer.safetensors", format!("has no {name} that fits"));
        self.update.restore(&self.learner.parameters, &snapshot.optimizer).map_err(wrong)?;
        self.best = Best::resume(snapshot.best, self.learner.device);
        self.standing = snapshot.standing;
        self.snapshot_at = snapshot.standing.step;
        let (step, total) = (self.standing.step, self.course.steps);
        let data = json!({"step": step, "steps": total});
        self.reporter.event("info", "resumed", format!("continues after step {step} of {total}"), data);
        let different = snapshot.conditions.differences(&Conditions::of(self.given.spec, &self.learner));
        if !different.is_empty() {
            let names: Vec<&str> = different.keys().map(String::as_str).collect();
            let names = names.join(", ");
            let message = format!("continues under other conditions ({names}): not to the same last bit");
            self.reporter.event("warn", "inexact_resume", message, Value::Object(different.clone()));
        }
        self.reporter.progress(step, total);
        self.reporter.resume(snapshot.window);
        Ok(())
    }

    /// One optimizer step.
    pub fn step(&mut self, batch: &[&Lesson]) -> Result<(), TrainError> {
        let (step, steps) = (self.standing.step, self.course.steps);
        let (rate, done) = (self.course.rate(step), step + 1);
        let mut loss = loss::step_loss(&self.learner, batch, &self.loss, step)?;

        let gradient_norm = clip(&mut loss.gradient, self.given.spec.hyperparameters.clip_norm);

        if loss.total.is_finite() && gradient_norm.is_finite() {
            self.update.step(&mut self.learner.parameters, &loss.gradient, rate);
            self.reporter.step(&loss, gradient_norm, batch.len());
            self.standing.skipped_in_a_row = 0;
        } else {
            self.skip(done, &loss, gradient_norm)?;
        }
        self.standing.step = done;

        self.reporter.metrics(done, steps, rate, self.standing.skipped);
        self.reporter.progress(done, steps);
        Ok(())
    }

    fn skip(&mut self, step: i64, loss: &StepLoss, gradient_norm: f64) -> Result<(), TrainError> {
        self.standing.skipped += 1;
        self.standing.skipped_in_a_row += 1;
        let message = format!("step {step} is left out: its loss or its gradient is not finite");
        let data = json!({"step": step, "loss": loss.total.to_string(), "gradient_norm": gradient_norm.to_string()});
        self.reporter.event("warn", "step_skipped", message, data);
        let steps = self.standing.skipped_in_a_row;
        if steps >= MOST_NON_FINITE_STEPS { Err(TrainError::NonFinite { step, steps }) } else { Ok(()) }
    }

    /// Examines the student on the validation rows and keeps the best weights. An exam that is interrupted is still due.
    pub fn examine_when_due(&mut self, validation: &Exam) -> Result<(), TrainError> {
        if !self.exam_is_due(validation) {
            return Ok(());
        }
        let step = self.standing.step;
        if let Some(findings) = validation.take(&self.learner, self.given.spec, self.given.stop)? {
            self.reporter.evaluated(step, &findings);
            self.best.offer(step, findings.accuracy, &self.learner.parameters.values);
            self.standing.examined_at = step;
            self.found = Some((step, findings.accuracy));
        }
        Ok(())
    }

    fn exam_is_due(&self, validation: &Exam) -> bool {
        let step = self.standing.step;
        let every = i64::from(self.given.spec.hyperparameters.eval_steps.max(1));
        let is_here = step % every == 0 || step == self.course.steps;
        is_here && self.standing.examined_at < step && !validation.is_empty()
    }

    /// Writes the student as it is now, for others to ask, and says so; not before an exam that is due here. One that cannot
    /// be written costs a warning, never the training.
    pub fn leave_checkpoint_when_due(&mut self, validation: &Exam) {
        let (step, every) = (self.standing.step, i64::from(self.given.spec.hyperparameters.checkpoint_every));
        let is_due = every > 0 && step % every == 0 && self.standing.checkpoint_at < step;
        if !is_due || self.exam_is_due(validation) {
            return;
        }
        self.standing.checkpoint_at = step;
        let name = format!("checkpoint-{step}");
        let accuracy = self.found.filter(|(at, _)| *at == step).map(|(_, accuracy)| accuracy);
        let mut card = learner::card(self.given.spec, &self.given.texts);
        card.lineage.insert("step".to_owned(), json!(step));
        card.measured.extend(accuracy.map(|accuracy| validation.measured(Split::Validation, accuracy)));
        match self.learner.save(&self.given.folder.join(&name), &card) {
            Ok(()) => self.reporter.checkpoint(step, &name, accuracy),
            Err(error) => {
                let message = format!("no checkpoint after step {step}: {error}");
                self.reporter.event("warn", "checkpoint_failed", message, json!({"step": step}));
            }
        }
    }

    /// The best weights take the place of the last ones; their step and accuracy.
    pub fn restore_best(&mut self) -> Option<(i64, f64)> {
        self.best.restore(&mut self.learner.parameters.values)
    }

    /// The accuracy on the test rows, null where there are none; nothing when the exam was interrupted.
    pub fn examine_at_the_end(&self, test: &Exam) -> Result<Option<Option<f64>>, TrainError> {
        if test.is_empty() {
            return Ok(Some(None));
        }
        let findings = test.take(&self.learner, self.given.spec, self.given.stop)?;
        Ok(findings.map(|findings| Some(findings.accuracy)))
    }

    /// Whether the training writes a snapshot here on its own.
    pub fn snapshot_is_due(&self) -> bool {
        let (step, every) = (self.standing.step, i64::from(self.given.spec.hyperparameters.snapshot_every));
        every > 0 && step % every == 0 && step != self.snapshot_at && step < self.course.steps
    }

    /// Writes a snapshot and says so. One that cannot be written costs a warning, never the training.
    pub fn snapshot(&mut self) {
        let standing = Standing { seconds: self.seconds(), ..self.standing };
        let learner = &self.learner;
        let is_new = matches!(self.given.spec.student, AttemptStudent::FromScratch(_));
        let snapshot = Snapshot {
            conditions: Conditions::of(self.given.spec, learner),
            standing,
            window: self.reporter.window(),
            parameters: learner.parameters.weights(&learner.parameters.values),
            optimizer: self.update.state(&learner.parameters),
            best: self.best.kept(),
            tokenizer: is_new.then(|| learner.tokenizer.clone()),
        };
        self.snapshot_at = standing.step;
        match snapshot.write(self.given.folder, self.given.spec) {
            Ok(name) => {
                self.reporter.snapshot(standing.step, &name);
                self.snapshots.push(name);
                self.remove_old_snapshots();
            }
            Err(error) => {
                let message = format!("no snapshot after step {}: {error}", standing.step);
                self.reporter.event("warn", "snapshot_failed", message, json!({"step": standing.step}));
            }
        }
    }

    /// A snapshot loses its name before it loses a file. The parent claims one by renaming it as well: of the two renames
    /// one wins, so that nobody ever reads half a snapshot.
    fn remove_old_snapshots(&mut self) {
        while self.snapshots.len() > SNAPSHOTS_LEFT {
            let old = self.given.folder.join(self.snapshots.remove(0));
            let removing = old.with_extension("removing");
            if std::fs::rename(&old, &removing).is_ok() {
                // What stays behind costs disk alone, until the attempt's folder goes.
                drop(std::fs::remove_dir_all(removing));
            }
        }
    }

    /// Seconds spent, over all interruptions.
    pub fn seconds(&self) -> f64 {
        self.standing.seconds + self.began.elapsed().as_secs_f64()
    }
}
