//! What a training leaves in its folder on its way: checkpoints for others to ask, snapshots to go on from.

use serde_json::json;
use tch::Tensor;

use super::Training;
use crate::domain::{AttemptStudent, Split};
use crate::trainer::evaluation::Exam;
use crate::trainer::learner;
use crate::trainer::rounds::Rounds;
use crate::trainer::snapshot::{Snapshot, Standing};

/// Snapshots left in the attempt's folder: the newest, and the one that its parent may be about to claim.
const SNAPSHOTS_LEFT: usize = 2;

impl Training<'_> {
    /// Writes the student as it is now, for others to ask, and says so; not before an exam that is due here. One that cannot
    /// be written costs a warning, never the training.
    pub fn leave_checkpoint_when_due(&mut self, validation: &Exam) {
        let (step, every) = (self.standing.step, i64::from(self.given.spec.hyperparameters.checkpoint_every));
        let is_due = every > 0 && self.step_of_round() % every == 0 && self.standing.checkpoint_at < step;
        if !is_due || self.exam_is_due(validation) {
            return;
        }
        self.standing.checkpoint_at = step;
        let name = format!("checkpoint-{step}");
        let accuracy = self.found.filter(|(at, _)| *at == step).map(|(_, accuracy)| accuracy);
        let mut card = learner::card(self.given.spec, &self.given.texts);
        card.lineage.insert("seed".to_owned(), json!(self.round.seed));
        card.lineage.insert("step".to_owned(), json!(step));
        card.measured.extend(accuracy.map(|accuracy| validation.measured(Split::Validation, accuracy)));
        match self.learner.save(&self.given.folder.join(&name), &card) {
            Ok(()) => self.reporter.checkpoint(step, &name, accuracy, self.round.seed),
            Err(error) => {
                let message = format!("no checkpoint after step {step}: {error}");
                self.reporter.event("warn", "checkpoint_failed", message, json!({"step": step}));
            }
        }
    }

    /// Whether the training writes a snapshot here on its own. One that went back writes none where it has written one: a
    /// step's snapshot is stored once.
    pub fn snapshot_is_due(&self) -> bool {
        let (step, every) = (self.standing.step, i64::from(self.given.spec.hyperparameters.snapshot_every));
        every > 0 && step % every == 0 && step > self.snapshot_at && !self.is_over()
    }

    /// Writes a snapshot and says so. One that cannot be written costs a warning, never the training.
    pub fn snapshot(&mut self) {
        let standing = Standing { seconds: self.seconds(), ..self.standing };
        let learner = &self.learner;
        let is_new = matches!(self.given.spec.student, AttemptStudent::FromScratch(_));
        let snapshot = Snapshot {
            conditions: self.conditions(),
            standing,
            window: self.reporter.window(),
            parameters: learner.parameters.by_name(),
            optimizer: self.update.state(&learner.parameters),
            best: self.best.kept(),
            rounds: Rounds::resume(self.rounds.over().to_vec(), self.rounds.best().map(Tensor::shallow_clone)),
            tokenizer: is_new.then(|| learner.tokenizer.clone()),
        };
        self.snapshot_at = self.snapshot_at.max(standing.step);
        match snapshot.write(self.given.folder, self.given.spec) {
            Ok(name) => {
                // Before it is told of: then it may be taken away.
                self.way_back.keep(self.given.folder, &name, standing.step);
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
}
