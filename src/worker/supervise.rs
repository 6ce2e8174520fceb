//! The time between a child's start and its last frame: what it says is passed on, its snapshots are stored, and it is
//! told to stop.
//!
//! Pausing and draining are gentle: the child is ordered to write a snapshot and stop, and what it leaves is stored before
//! the job is let go. A draining process has a bounded time for that; then, as for a cancel or a lost lease, the child is
//! killed, and what is lost is what came after the last snapshot in the store.

use std::path::Path;

use super::{
    Attempt, AttemptError, Stop, Worker,
    checkpoints::{self, Left, Making},
    child::{Frames, Orders, TrainingChild},
    snapshots,
};
use crate::{
    domain::{AttemptOutcome, Frame, Order, Progress},
    store::{EventLevel, NewEvent},
};

/// Runs a child in `folder` to its last frame.
pub async fn train(
    worker: &Worker,
    attempt: &Attempt,
    made: &Making<'_>,
    folder: &Path,
) -> Result<AttemptOutcome, AttemptError> {
    let mut child = TrainingChild::start(&worker.program, folder, worker.threads)?;
    let (frames, orders) = child.channels();
    let ended = tokio::select! {
        ended = follow(worker, attempt, made, folder, frames) => ended,
        stop = direct(attempt, orders) => Err(AttemptError::Stopped(stop)),
    };
    match ended {
        Ok(Some(outcome)) => Ok(outcome),
        Ok(None) => Err(child.post_mortem().await),
        Err(error) => {
            child.kill().await;
            Err(error)
        }
    }
}

/// Passes on what the child says; nothing when it ended without a last frame.
async fn follow(
    worker: &Worker,
    attempt: &Attempt,
    made: &Making<'_>,
    folder: &Path,
    frames: &mut Frames,
) -> Result<Option<AttemptOutcome>, AttemptError> {
    while let Some(frame) = frames.next().await? {
        match frame {
            Frame::Finished { outcome } => return Ok(Some(outcome)),
            Frame::Failed { error, retryable } => return Err(AttemptError::Failed { error, retryable }),
            // Only who was told to stop does; the store knows whether a pause is still wanted.
            Frame::Stopped => return Err(AttemptError::Stopped(attempt.stopped().unwrap_or(Stop::Draining))),
            Frame::Snapshot { step, folder: name } => {
                snapshots::store(worker, attempt, step, &folder.join(name)).await?;
            }
            Frame::Checkpoint { step, folder: name, accuracy, seed } => {
                let left = Left { step, accuracy, seed, folder: &folder.join(name) };
                checkpoints::store(worker, attempt, made, left).await?;
            }
            Frame::Progress { .. } | Frame::Metrics { .. } | Frame::Event { .. } => pass_on(attempt, frame).await?,
            Frame::Unknown => {}
        }
    }
    Ok(None)
}

async fn pass_on(attempt: &Attempt, frame: Frame) -> Result<(), AttemptError> {
    let (store, lease) = (attempt.store(), attempt.lease);
    match frame {
        Frame::Progress { step, total } => attempt.persist(|| store.progress(lease, Progress { step, total })).await,
        Frame::Metrics { step, values } => attempt.persist(|| store.append_metrics(lease, step, &values)).await,
        Frame::Event { level, code, message, data } => {
            let level = level.parse().unwrap_or(EventLevel::Info);
            attempt.tell(NewEvent { level, code, message, data }).await
        }
        _ => Ok(()),
    }
}

/// Orders the child to stop when it must; ends when there is no more time for it.
async fn direct(attempt: &Attempt, orders: &mut Orders) -> Stop {
    let obedient = async {
        if attempt.until_stopped().await.is_gentle() {
            orders.give(Order::SnapshotAndStop).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        stop = attempt.until_out_of_time() => stop,
        never = obedient => never,
    }
}
