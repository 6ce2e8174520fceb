//! What an error means: for the question, which may be tried again, go without an answer, or be asked in vain because nobody is
//! answered; and for the job, which the same error may end.

use std::sync::atomic::Ordering;

use super::{
    asking::{Asked, Asking},
    call::{MAX_TRIES, Sent},
    patience::Blame,
};
use crate::{
    domain::{JobError, Reply},
    teacher::TeacherError,
    telemetry::chain,
    worker::AttemptError,
};

/// Calls that are refused one after the other before it is asked whether any was ever answered.
const MAX_REFUSED: u64 = 20;
/// Questions without an answer in a row that cost themselves, before all that is left costs the job its last attempt.
const LAST_TOLERATED: u32 = 20;

impl Asking<'_> {
    /// A call was answered.
    pub(super) fn note_answer(&self) {
        self.patience.note_answer();
        self.refused.store(0, Ordering::Relaxed);
    }

    /// What an error means for the question, and for all others.
    pub(super) async fn judge(&self, error: TeacherError) -> Asked<Sent> {
        // A key that others were answered by is good: it is this text that is forbidden.
        let spares_others = error.is_forbidden() && self.was_ever_answered().await?;
        if error.is_fatal() && !spares_others {
            return Err(self.end(AttemptError::fatal(JobError::new(error.code(), chain(&error)))));
        }
        if error.is_retryable() {
            return Ok(Sent::Again(error));
        }
        if self.refused.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_REFUSED {
            self.doubt(&error).await?;
        }
        Ok(Sent::Refused(chain(&error)))
    }

    /// Ends a job none of whose calls was ever answered, and one whose key is refused by now: whatever the teacher dislikes,
    /// it is not the one text.
    async fn doubt(&self, error: &TeacherError) -> Asked<()> {
        if error.is_forbidden() {
            return Err(self.end(AttemptError::fatal(JobError::new(error.code(), chain(error)))));
        }
        if self.was_ever_answered().await? {
            self.refused.store(0, Ordering::Relaxed);
            return Ok(());
        }
        let message = format!("none of the first {MAX_REFUSED} calls was answered; the last: {}", chain(error));
        Err(self.end(AttemptError::fatal(JobError::new("teacher_refuses", message))))
    }

    /// Whether any call of the job was answered: under this hand or before it, as its patience knows, or meanwhile under the
    /// hands of others. Answers that other jobs had paid for say nothing of this one's teacher, and are not counted.
    async fn was_ever_answered(&self) -> Asked<bool> {
        if self.patience.answered() > 0 {
            return Ok(true);
        }
        let (attempt, store) = (self.attempt, self.attempt.store());
        let sums = attempt.persist(|| store.annotation_sums(attempt.job.id)).await.map_err(|error| self.end(error))?;
        Ok(sums.answered_calls > 0)
    }

    /// A question that is to blame itself gets no answer; a teacher that answers nobody costs the attempt, and the job comes
    /// back later.
    pub(super) async fn give_up(&self, error: &TeacherError, answered_before: u64) -> Asked<Result<Reply, String>> {
        match self.unless_ended(self.patience.blame(answered_before, self.tolerated(error))).await? {
            Blame::Question => Ok(Err(format!("given up after {MAX_TRIES} tries: {}", chain(error)))),
            Blame::Teacher => Err(self.end(AttemptError::passing(JobError::new(error.code(), chain(error))))),
        }
    }

    /// Questions in a row that a teacher may leave without an answer. One that has never answered anybody: none; one of which
    /// nothing is heard: none before the last attempt. Fewer than are asked at once, so that they are not all that is asked.
    fn tolerated(&self, error: &TeacherError) -> u32 {
        let (job, width) = (&self.attempt.job, self.teacher.max_concurrency());
        if self.patience.answered() == 0 {
            0
        } else if job.attempt >= job.max_attempts {
            LAST_TOLERATED
        } else if error.is_sign_of_life() {
            LAST_TOLERATED.min(u32::try_from(width).unwrap_or(u32::MAX))
        } else {
            0
        }
    }
}
