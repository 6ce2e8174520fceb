//! Checkpoints on their way from an attempt's folder to whoever asks for them by name.
//!
//! ```text
//! child: checkpoint-200/ ─▶ jobs/{id}/e{epoch}/checkpoint-200/…, manifest last ─▶ its row (fenced) ─▶ retention
//! ```
//! An attempt that takes a job up again may pass the same step once more: the checkpoint that is there stays. Trouble with a
//! checkpoint costs the checkpoint and an event, never the job.

use std::path::Path;

use serde_json::{Map, json};

use super::{Attempt, AttemptError, Worker};
use crate::{
    artifacts::ArtifactError,
    domain::{Checkpoint, CheckpointId, DistillationSpec, Lineage, metric},
    store::{EventLevel, NewEvent, StoreError, WhichCheckpoint},
    telemetry::chain,
};

/// What is being made.
#[derive(Debug, Clone, Copy)]
pub struct Making<'a> {
    /// What was asked for.
    pub spec: &'a DistillationSpec,
    /// What it is made of.
    pub lineage: &'a Lineage,
}

/// What the child says of a checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Left<'a> {
    /// Optimizer steps done.
    pub step: i64,
    /// Accuracy on the validation rows at that step.
    pub accuracy: Option<f64>,
    /// The seed that it learned under.
    pub seed: Option<u64>,
    /// Where it lies.
    pub folder: &'a Path,
}

/// Publishes a checkpoint that the child has written, and lets go of those that need not be kept.
pub async fn store(worker: &Worker, attempt: &Attempt, made: &Making<'_>, left: Left<'_>) -> Result<(), AttemptError> {
    let stored = publish(worker, attempt, made.lineage, left).await;
    if let Err(error) = tokio::fs::remove_dir_all(left.folder).await {
        tracing::warn!(folder = %left.folder.display(), %error, "cannot remove a published checkpoint");
    }
    match stored? {
        Published::New => retire(worker, attempt, made.spec).await,
        Published::ThereAlready => Ok(()),
        Published::Failed(error) => attempt.tell(not_stored(left.step, &chain(&error))).await,
    }
}

enum Published {
    New,
    ThereAlready,
    Failed(ArtifactError),
}

async fn publish(
    worker: &Worker,
    attempt: &Attempt,
    lineage: &Lineage,
    left: Left<'_>,
) -> Result<Published, AttemptError> {
    let (job, lease, step) = (&attempt.job, attempt.lease, left.step);
    let which = WhichCheckpoint::Step(job.id, step);
    if attempt.persist(|| attempt.store().checkpoint(job.project_id, which)).await?.is_some() {
        return Ok(Published::ThereAlready);
    }
    let artifact_prefix = format!("jobs/{}/e{}/checkpoint-{step}", job.id, lease.epoch);
    let published = match worker.artifacts.publish_directory(&artifact_prefix, left.folder).await {
        Ok(published) => published,
        Err(error) => return Ok(Published::Failed(error)),
    };
    let metrics = left.accuracy.map(|accuracy| (metric::LABEL_ACCURACY.to_owned(), json!(accuracy)));
    let checkpoint = Checkpoint {
        id: CheckpointId(worker.clock.new_id()),
        project_id: job.project_id,
        name: Checkpoint::name_of(&job.id.to_string(), step),
        job_id: job.id,
        step,
        accuracy: left.accuracy,
        best: false,
        metrics: Map::from_iter(metrics),
        lineage: Lineage { step: Some(step), seed: left.seed, ..lineage.clone() },
        artifact_prefix,
        manifest_sha256: published.manifest_sha256,
        bytes: published.bytes,
        created_at: worker.clock.now(),
    };
    attempt.persist(|| attempt.store().insert_checkpoint(lease, &checkpoint)).await?;
    Ok(Published::New)
}

/// The rows of the others go now; their files too, unless that fails: then a later sweep removes them.
async fn retire(worker: &Worker, attempt: &Attempt, spec: &DistillationSpec) -> Result<(), AttemptError> {
    let keep = spec.hyperparameters.keep_checkpoints;
    let retired: Result<u64, StoreError> = attempt.store().retire_checkpoints(attempt.job.id, keep).await;
    match retired {
        Ok(0) => {}
        Ok(_) => {
            if let Err(error) = worker.registry.sweep().await {
                tracing::warn!(error = %chain(&error), "the files of retired checkpoints stay for now");
            }
        }
        Err(error) => tracing::warn!(error = %chain(&error), "checkpoints that need not be kept stay for now"),
    }
    Ok(())
}

fn not_stored(step: i64, why: &str) -> NewEvent {
    let message = format!("the checkpoint after step {step} could not be published: {why}");
    NewEvent { level: EventLevel::Warn, code: "checkpoint_failed".to_owned(), message, data: json!({"step": step}) }
}
