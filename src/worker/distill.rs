//! A distillation: prepare a folder, let the child train in it, publish what it leaves.

use std::path::Path;

use serde_json::json;

use super::{Attempt, AttemptError, Worker, attempt_folder, inputs::scratch_failed, snapshots, supervise};
use crate::domain::{AttemptOutcome, AttemptSpec, DistillationSpec, JobError, JobId, Model, ModelId};

/// Trains the student of `spec` and registers it.
pub async fn distill(worker: &Worker, attempt: &Attempt, spec: &DistillationSpec) -> Result<(), AttemptError> {
    let folder = worker.scratch.join(format!("{}-e{}", attempt.job.id, attempt.lease.epoch));
    attempt_folder::remove_older(worker, attempt).await;
    tokio::fs::create_dir_all(&folder).await.map_err(|error| scratch_failed(&folder, &error))?;
    let result = in_folder(worker, attempt, spec, &folder).await;
    // A leftover costs disk, not truth; `post_mortem` has read what it needs.
    if let Err(error) = tokio::fs::remove_dir_all(&folder).await {
        tracing::warn!(?folder, %error, "cannot remove a scratch folder");
    }
    result
}

async fn in_folder(
    worker: &Worker,
    attempt: &Attempt,
    spec: &DistillationSpec,
    folder: &Path,
) -> Result<(), AttemptError> {
    let mut prepared = attempt_folder::prepare(worker, attempt, spec, folder).await?;
    let outcome = train(worker, attempt, &mut prepared, folder).await?;
    publish(worker, attempt, spec, &prepared, outcome, folder).await?;
    snapshots::remove_after_success(worker, attempt).await;
    Ok(())
}

/// Trains on from the newest snapshot; where the child refuses it, from the one before, and at last from the start.
async fn train(
    worker: &Worker,
    attempt: &Attempt,
    prepared: &mut AttemptSpec,
    folder: &Path,
) -> Result<AttemptOutcome, AttemptError> {
    loop {
        let snapshot = snapshots::fetch_newest(worker, attempt, folder).await?;
        prepared.resume = snapshot.as_ref().map(|snapshot| snapshot.place.clone());
        attempt_folder::write_spec(folder, prepared).await?;
        attempt.check()?;
        match (supervise::train(worker, attempt, folder).await, snapshot) {
            (Err(AttemptError::Failed { error, .. }), Some(snapshot)) if error.code == JobError::SNAPSHOT_UNUSABLE => {
                snapshot.refused(attempt, &error).await?;
            }
            (ended, _) => return ended,
        }
    }
}

/// Files first, row second: the model's row and the job's end are one transaction after every byte is stored.
async fn publish(
    worker: &Worker,
    attempt: &Attempt,
    spec: &DistillationSpec,
    prepared: &AttemptSpec,
    outcome: AttemptOutcome,
    folder: &Path,
) -> Result<(), AttemptError> {
    let job = &attempt.job;
    let artifact_prefix = format!("jobs/{}/e{}/checkpoint", job.id, attempt.lease.epoch);
    let published = worker.artifacts.publish_directory(&artifact_prefix, &folder.join("checkpoint")).await?;
    let base = prepared.lineage["base"].as_str().unwrap_or_default().to_owned();
    let metrics = json!({
        "validation_accuracy": outcome.validation_accuracy,
        "test_accuracy": outcome.test_accuracy,
        "parameters": outcome.parameters,
        "training_examples": outcome.training_examples,
    });
    let model = Model {
        id: ModelId(worker.clock.new_id()),
        project_id: job.project_id,
        name: spec.model_name.clone().unwrap_or_else(|| default_name(&base, spec, job.id)),
        base,
        job_id: job.id,
        task: spec.task.clone(),
        metrics: metrics.as_object().cloned().unwrap_or_default(),
        artifact_prefix,
        manifest_sha256: published.manifest_sha256,
        bytes: published.bytes,
        created_at: worker.clock.now(),
    };
    let result = serde_json::to_value(&outcome)
        .map_err(|error| AttemptError::fatal(JobError::new("internal", format!("result: {error}"))))?;
    attempt.persist(|| attempt.store().finish_distillation(attempt.lease, &result, &model)).await?;
    Ok(())
}

fn default_name(base: &str, spec: &DistillationSpec, job: JobId) -> String {
    let short: String =
        job.0.simple().to_string().chars().rev().take(6).collect::<Vec<_>>().into_iter().rev().collect();
    format!("{}-{}-{short}", base.replace('_', "-"), spec.method.as_str().replace('_', "-"))
}
