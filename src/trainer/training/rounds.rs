//! What the end of a round does to a training, and the start of the next one.

use std::time::Instant;

use serde_json::{Value, json};

use super::Training;
use crate::domain::SeedOutcome;
use crate::trainer::TrainError;
use crate::trainer::best::Best;
use crate::trainer::evaluation::Exam;
use crate::trainer::report::Window;
use crate::trainer::rounds::Rounds;
use crate::trainer::snapshot::Standing;

impl Training<'_> {
    /// Steps done in this round.
    pub fn step_of_round(&self) -> i64 {
        self.standing.step - self.round.first_step
    }

    /// The last step of this round, unless it stops early.
    pub(super) fn last_step(&self) -> i64 {
        self.round.first_step + self.course.steps
    }

    /// Steps that will have been taken in the end, as far as is known.
    pub(super) fn total_steps(&self) -> i64 {
        let rounds_after = (self.round.count - self.round.number - 1) as i64;
        self.stopped_early_at().unwrap_or(self.last_step()) + rounds_after * self.course.steps
    }

    /// Ends the round with its best weights in place, examined on the test rows and calibrated on the validation rows; false where
    /// that was interrupted.
    pub fn end_round(&mut self, validation: &Exam, test: &Exam) -> Result<bool, TrainError> {
        let stopped_early_at = self.stopped_early_at();
        let kept = self.best.restore(&mut self.learner.parameters);
        let Ok(test_accuracy) = self.examine_at_the_end(test)? else { return Ok(false) };
        let Ok(calibration) = self.calibrate_at_the_end(validation) else { return Ok(false) };
        let outcome = SeedOutcome {
            seed: self.round.seed,
            best_step: kept.map_or(self.standing.step, |(step, _)| step),
            validation_accuracy: kept.map(|(_, accuracy)| accuracy),
            test_accuracy,
            calibration,
            steps: self.step_of_round(),
            stopped_early_at,
            tokens: self.standing.tokens,
            seconds: self.seconds(),
        };
        if self.round.count > 1 {
            let message = format!("seed {} is done, {} of {}", outcome.seed, self.round.number + 1, self.round.count);
            // What the test rows say is not told while others are still trained.
            let told = SeedOutcome { test_accuracy: None, ..outcome.clone() };
            self.reporter.event("info", "seed_finished", message, json!(told));
        }
        self.rounds.end(outcome, self.learner.parameters.values(), &self.given.spec.hyperparameters);
        Ok(true)
    }

    /// Begins the next round with a student that has learned nothing; false where there is none.
    pub fn begin_next_round(&mut self) -> Result<bool, TrainError> {
        let knobs = &self.given.spec.hyperparameters;
        let Some(round) = self.rounds.next(knobs) else { return Ok(false) };
        (self.round, self.loss.seed, self.best, self.found) = (round, round.seed, Best::default(), None);
        self.way_back.forget();
        let first = self.learner.first_weights(self.given.folder, self.given.spec, round.seed)?;
        self.learner.parameters.set_by_name(&first);
        self.update.forget(&self.learner.parameters);
        let Standing { step, skipped, .. } = self.standing;
        self.standing = Standing { step, examined_at: step, checkpoint_at: step, skipped, ..Standing::default() };
        self.began = Instant::now();
        self.reporter.resume(Window::default());
        self.announce_round();
        Ok(true)
    }

    /// Says under which seed the next steps are taken, where there are several.
    pub(super) fn announce_round(&mut self) {
        let round = self.round;
        if round.count > 1 {
            let message = format!("seed {}, {} of {}", round.seed, round.number + 1, round.count);
            let data: Value = json!({
                "seed": round.seed,
                "round": round.number + 1,
                "rounds": round.count,
                "first_step": round.first_step,
            });
            self.reporter.event("info", "seed_started", message, data);
        }
    }

    /// Puts the weights of the best round into the student, the last one being over; what was found in all of them.
    pub fn finish(&mut self) -> Rounds {
        let rounds = std::mem::take(&mut self.rounds);
        if let Some(best) = rounds.best() {
            self.learner.parameters.set(best);
        }
        rounds
    }
}
