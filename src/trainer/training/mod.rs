//! A training between its start and its end: what a step does to it; in `exams`, what an exam does, in `setbacks`, what a
//! step does that fails, in `leavings`, what it leaves for others on its way, and in `rounds`, how it goes on under the next
//! of its seeds.

mod exams;
mod leavings;
mod rounds;
mod setbacks;

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use super::best::Best;
use super::curriculum::Taught;
use super::dropped::Dropped;
use super::learner::Learner;
use super::loss::LossSettings;
use super::optimizer::{Update, clip};
use super::report::Reporter;
use super::rounds::{Round, Rounds};
use super::schedule::Course;
use super::snapshot::{Conditions, Snapshot, SnapshotError, Standing};
use super::texts::Texts;
use super::way_back::WayBack;
use super::{StopRequest, TrainError};
use crate::device;
use crate::domain::{AttemptSpec, LearnedTexts};

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
    /// Where it stands among its rounds.
    pub round: Round,
    /// What it was given.
    pub given: Assignment<'a>,
    rounds: Rounds,
    course: Course,
    loss: LossSettings,
    update: Update,
    best: Best,
    reporter: Reporter<'a>,
    began: Instant,
    /// Where a snapshot was taken last, or continued from.
    snapshot_at: i64,
    snapshots: Vec<String>,
    way_back: WayBack,
    /// The step of the last exam of this attempt, and what it found.
    found: Option<(i64, f64)>,
}

impl<'a> Training<'a> {
    /// A training before its first step.
    pub fn new(
        given: Assignment<'a>,
        course: Course,
        learner: Learner,
        (rounds, round): (Rounds, Round),
        reporter: Reporter<'a>,
    ) -> Self {
        let knobs = &given.spec.hyperparameters;
        Self {
            loss: LossSettings::new(given.spec, &learner.config, round.seed),
            update: Update::new(knobs, given.spec.scales_by_weight(), &learner.parameters),
            standing: Standing::default(),
            best: Best::default(),
            began: Instant::now(),
            snapshot_at: 0,
            snapshots: Vec::new(),
            way_back: WayBack::default(),
            found: None,
            given,
            course,
            learner,
            rounds,
            round,
            reporter,
        }
    }

    /// Says what will be done.
    pub fn announce(&mut self, rows: Value, dropped: &Dropped) {
        let learner = &self.learner;
        let (parameters, steps) = (learner.parameters.count(), self.course.steps);
        let LearnedTexts { max_lengths, truncated } = self.given.texts.learned();
        let arithmetic = device::words(learner.kind, learner.device);
        let seeds = self.given.spec.hyperparameters.seeds();
        let times = if seeds.len() > 1 { format!("{} times ", seeds.len()) } else { String::new() };
        let message = format!("{times}{steps} steps of a student with {parameters} parameters, in {arithmetic}");
        let data = json!({
            "rows": rows,
            "max_lengths": max_lengths,
            "truncated": truncated,
            "steps": steps,
            "seeds": seeds,
            "parameters": parameters,
            "vocabulary_size": learner.config.vocab_size,
        });
        self.reporter.event("info", "training_started", message, data);
        if dropped.total() > 0 {
            let message = format!("{} training rows are left out: {}", dropped.total(), dropped.words());
            let data = json!({"counts": dropped.counts, "rows": dropped.shown});
            self.reporter.event("warn", "rows_dropped", message, data);
        }
        self.announce_round();
    }

    /// Goes on where an interrupted training stood; the student has its weights already.
    pub fn resume(&mut self, snapshot: Snapshot) -> Result<(), TrainError> {
        self.standing = snapshot.standing;
        self.snapshot_at = snapshot.standing.step;
        if let Some(place) = &self.given.spec.resume {
            self.way_back.begin_at(self.snapshot_at, self.given.folder.join(place));
        }
        // What did not fit into memory before will not now.
        self.loss.micro_batch_size = self.loss.micro_batch_size.min(snapshot.conditions.micro_batch_size());
        let (step, total) = (self.standing.step, self.total_steps());
        let data = json!({"step": step, "steps": total});
        self.reporter.event("info", "resumed", format!("continues after step {step} of {total}"), data);
        let different = snapshot.conditions.differences(&self.conditions());
        if !different.is_empty() {
            let names: Vec<&str> = different.keys().map(String::as_str).collect();
            let names = names.join(", ");
            let message = format!("continues under other conditions ({names}): not to the same last bit");
            self.reporter.event("warn", "inexact_resume", message, Value::Object(different.clone()));
        }
        self.reporter.progress(step, total);
        self.reporter.resume(snapshot.window.clone());
        self.take_over(snapshot)
    }

    /// Optimizer and best weights are those of a snapshot.
    fn take_over(&mut self, snapshot: Snapshot) -> Result<(), TrainError> {
        let wrong = |name| SnapshotError::damaged("optimizer.safetensors", format!("has no {name} that fits"));
        self.update.restore(&self.learner.parameters, &snapshot.optimizer).map_err(wrong)?;
        self.best = Best::resume(snapshot.best, self.learner.device);
        Ok(())
    }

    /// What the next step is computed under.
    fn conditions(&self) -> Conditions {
        Conditions::of(self.loss.micro_batch_size, &self.learner)
    }

    /// One optimizer step.
    pub fn step(&mut self, batch: &[Taught<'_>]) -> Result<(), TrainError> {
        let (step, mut done) = (self.step_of_round(), self.standing.step + 1);
        let rate = self.rate(step);
        let loss = self.loss_of(batch, step)?;

        let gradient_norm = loss.gradient.norm();
        let scale = clip(gradient_norm, self.given.spec.hyperparameters.clip_norm);

        if loss.total.is_finite() && gradient_norm.is_finite() {
            self.update.step(&mut self.learner.parameters, &loss.gradient, scale, rate);
            self.reporter.step(&loss, gradient_norm, batch.len());
            self.standing.tokens += loss.tokens;
            self.standing.skipped_in_a_row = 0;
        } else {
            done = self.skip(done, &loss, gradient_norm)?;
        }
        self.standing.step = done;

        self.reporter.metrics(done, self.last_step(), rate, self.standing.skipped);
        self.reporter.progress(done, self.total_steps());
        Ok(())
    }

    /// Seconds spent, over all interruptions.
    pub fn seconds(&self) -> f64 {
        self.standing.seconds + self.began.elapsed().as_secs_f64()
    }
}
