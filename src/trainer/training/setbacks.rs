//! What a training does when a step fails.
//!
//! | failure | answer |
//! |---|---|
//! | the loss or its gradient is not finite | the step is left out and counted |
//! | so do ten steps in a row | once: back to where steps could still be computed, on at half the learning rate |
//! | and then ten more | `non_finite_loss` |
//! | the step needs more memory than there is | the same step again, in micro-batches of half the size |
//! | it does for a single example | `out_of_memory` |
//!
//! Back leads to the newest snapshot after which a step was computed; without one to the best weights so far, and without
//! those to the start, in both cases with an optimizer that remembers nothing. A pause writes a snapshot, so it may change
//! where back leads to; what was begun before is continued exactly, for both counters are in every snapshot.

use std::path::Path;

use super::{Assignment, Training};
use crate::device::{self, DeviceError};
use crate::domain::AttemptSpec;
use crate::trainer::TrainError;
use crate::trainer::best::Best;
use crate::trainer::curriculum::Taught;
use crate::trainer::loss::{self, StepLoss};
use crate::trainer::patience::Patience;
use crate::trainer::report::Window;
use crate::trainer::snapshot::{Snapshot, Standing};
use serde_json::json;

/// So many steps in a row that cannot be computed lead back, or end the training.
const MOST_NON_FINITE_STEPS: u32 = 10;
/// A training goes back so often.
const MOST_ROLLBACKS: u32 = 1;
/// What going back does to the learning rate.
const RATE_AFTER_ROLLBACK: f64 = 0.5;

impl Training<'_> {
    /// The learning rate of a step of this round, counted from 0.
    pub(super) fn rate(&self, step: i64) -> f64 {
        let rollbacks = i32::try_from(self.standing.rollbacks).unwrap_or(i32::MAX);
        self.course.rate(step) * RATE_AFTER_ROLLBACK.powi(rollbacks)
    }

    /// The loss of a batch, in parts that fit into memory. Smaller parts leave the mathematics as it is.
    pub(super) fn loss_of(&mut self, batch: &[Taught<'_>], step: i64) -> Result<StepLoss, TrainError> {
        loop {
            match device::catch("a step", || loss::step_loss(&self.learner, batch, &self.loss, step)) {
                Err(error @ DeviceError::OutOfMemory { .. }) => {
                    self.halve_micro_batch(self.standing.step + 1, batch.len(), error)?
                }
                found => return found?,
            }
        }
    }

    fn halve_micro_batch(&mut self, step: i64, examples: usize, error: DeviceError) -> Result<(), TrainError> {
        let was = self.loss.micro_batch_size.min(examples);
        if was <= 1 {
            return Err(error.into());
        }
        let is = was.div_ceil(2);
        self.loss.micro_batch_size = is;
        let message = format!("step {step} needs more memory than there is: {is} examples at once instead of {was}");
        let data = json!({"step": step, "was": was, "is": is, "reason": error.to_string()});
        self.reporter.event("warn", "micro_batch_halved", message, data);
        Ok(())
    }

    /// Leaves a step out that could not be computed; the step after which the training goes on.
    pub(super) fn skip(&mut self, step: i64, loss: &StepLoss, gradient_norm: f64) -> Result<i64, TrainError> {
        self.standing.skipped += 1;
        self.standing.skipped_in_a_row += 1;
        let message = format!("step {step} is left out: its loss or its gradient is not finite");
        let data = json!({"step": step, "loss": loss.total.to_string(), "gradient_norm": gradient_norm.to_string()});
        self.reporter.event("warn", "step_skipped", message, data);
        let Standing { skipped_in_a_row: steps, rollbacks, .. } = self.standing;
        match (steps >= MOST_NON_FINITE_STEPS, rollbacks < MOST_ROLLBACKS) {
            (false, _) => Ok(step),
            (true, true) => self.roll_back(step),
            (true, false) => Err(TrainError::NonFinite { step, steps }),
        }
    }

    fn roll_back(&mut self, step: i64) -> Result<i64, TrainError> {
        let computed = step - i64::from(self.standing.skipped_in_a_row);
        let (place, earlier) = self.go_back(computed)?;
        self.standing = Standing {
            checkpoint_at: self.standing.checkpoint_at,
            skipped: self.standing.skipped,
            skipped_in_a_row: 0,
            rollbacks: self.standing.rollbacks + 1,
            tokens: self.standing.tokens,
            seconds: self.standing.seconds,
            ..earlier
        };
        self.found = None;
        self.reporter.resume(Window::default());
        let back = self.standing.step;
        let message = format!(
            "back from step {step} to step {back} ({place}), and on at half the learning rate: {MOST_NON_FINITE_STEPS} steps \
             in a row could not be computed"
        );
        let data = json!({"from_step": step, "step": back, "to": place, "rate_factor": RATE_AFTER_ROLLBACK});
        self.reporter.event("warn", "rolled_back", message, data);
        Ok(back)
    }

    /// Takes weights and optimizer back to before `computed`, the last step that could be computed: what they are now, and
    /// where the training stood then.
    fn go_back(&mut self, computed: i64) -> Result<(&'static str, Standing), TrainError> {
        let Assignment { folder, spec, .. } = self.given;
        let kept = self.way_back.before(computed).find_map(|kept| readable(kept, spec));
        if let Some(snapshot) = kept {
            let standing = snapshot.standing;
            self.learner.parameters.set_by_name(&snapshot.parameters);
            self.take_over(snapshot)?;
            return Ok(("snapshot", standing));
        }
        self.update.forget(&self.learner.parameters);
        let best = self.best.kept().filter(|best| best.step < computed);
        if let Some(best) = best {
            self.learner.parameters.set(&best.values);
            let Standing { patience, .. } = self.standing;
            return Ok(("best", Standing { step: best.step, examined_at: best.step, patience, ..Standing::default() }));
        }
        let first = self.learner.first_weights(folder, spec, self.round.seed)?;
        self.learner.parameters.set_by_name(&first);
        self.best = Best::default();
        let step = self.round.first_step;
        Ok(("start", Standing { step, examined_at: step, patience: Patience::default(), ..Standing::default() }))
    }
}

/// A snapshot to go back to; one that changed since it was written is as good as none.
fn readable(folder: &Path, spec: &AttemptSpec) -> Option<Snapshot> {
    let read = Snapshot::read(folder, spec);
    if let Err(error) = &read {
        tracing::warn!(folder = %folder.display(), %error, "a snapshot to go back to cannot be read");
    }
    read.ok()
}
