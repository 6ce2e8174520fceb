//! Lending a hand in annotations that other workers lead: whatever time a worker's annotation lanes leave it. A lane of its
//! own, so that no job of the queue waits for it.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;

use super::{Attempt, AttemptError, Worker, annotate};
use crate::{
    domain::{JobId, JobSpec},
    shutdown::Shutdown,
    store::StoreError,
};

/// How long a worker keeps away from a job that it could not help with: its leader has the same trouble, or settles it.
const KEEP_AWAY: Duration = Duration::from_secs(60);

/// Jobs that could not be helped with, and since when.
type Avoided = HashMap<JobId, Instant>;

/// Helps until shutdown.
pub async fn run(worker: Arc<Worker>, shutdown: Shutdown) {
    let mut avoided = Avoided::new();
    while !shutdown.is_cancelled() {
        avoided.retain(|_, since| since.elapsed() < KEEP_AWAY);
        match help(&worker, &mut avoided, &shutdown).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "cannot look for annotations to help with; trying on"),
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = worker.wake.notified() => {}
            () = tokio::time::sleep(worker.poll) => {}
        }
    }
}

/// One look for an annotation with an open chunk and, where there was one, the whole hand in it. Returns whether there was one.
pub async fn help_once(worker: &Worker, shutdown: &Shutdown) -> Result<bool, StoreError> {
    help(worker, &mut Avoided::new(), shutdown).await
}

async fn help(worker: &Worker, avoided: &mut Avoided, shutdown: &Shutdown) -> Result<bool, StoreError> {
    let teachers: Vec<String> = worker.teachers.iter().map(|teacher| teacher.name().to_owned()).collect();
    let away: Vec<JobId> = avoided.keys().copied().collect();
    let joined = worker.store.join_annotation(worker.id, &teachers, &away, worker.terms.duration).await?;
    let Some((job, hand)) = joined else { return Ok(false) };
    let id = job.id;
    tracing::info!(job = %id, hand = hand.epoch, "lends a hand");
    let attempt = Attempt::begin_hand(worker, job, hand, shutdown);
    let JobSpec::Annotation(spec) = &attempt.job.spec else { return Ok(true) };
    // A fault of this program costs the hand, not the lane.
    let helped = AssertUnwindSafe(annotate::help(worker, &attempt, hand, spec)).catch_unwind().await;
    match helped {
        Ok(Ok(())) => tracing::info!(job = %id, hand = hand.epoch, "the hand has ended"),
        Ok(Err(AttemptError::Stopped(stop))) => {
            tracing::info!(job = %id, hand = hand.epoch, ?stop, "the hand has stopped")
        }
        trouble => {
            let trouble = trouble.map_err(|_| "a panic");
            tracing::warn!(job = %id, hand = hand.epoch, ?trouble, "cannot help; keeps away for a while");
            avoided.insert(id, Instant::now());
        }
    }
    // The writer has ended it already, unless it never came so far.
    worker.store.end_hand(hand).await.map(|()| true)
}
