//! A distillation: prepare a folder, let the child train in it, publish what it leaves.

use std::path::Path;

use serde_json::json;

use super::{
    Attempt, AttemptError, Worker, attempt_folder, checkpoints::Making, inputs::scratch_failed, snapshots,
    step_metrics, supervise,
};
use crate::{
    artifacts::Published,
    domain::{
        AttemptOutcome, AttemptSpec, DistillationResult, DistillationSpec, File, JobError, Lineage, Model, ModelId,
        default_model_name,
    },
    store::{EventLevel, NewEvent},
    telemetry::chain,
};

/// Trains the student of `spec` and registers it.
pub async fn distill(worker: &Worker, attempt: &Attempt, spec: &DistillationSpec) -> Result<(), AttemptError> {
    let folder = attempt_folder::place(worker, attempt.lease);
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
    let (mut prepared, lineage) =
        attempt.unless_stopped(attempt_folder::prepare(worker, attempt, spec, folder)).await?;
    let outcome = train(worker, attempt, &Making { spec, lineage: &lineage }, &mut prepared, folder).await?;
    publish(worker, attempt, spec, lineage, outcome, folder).await?;
    snapshots::remove_after_success(worker, attempt).await;
    Ok(())
}

/// Trains on from the newest snapshot; where the child refuses it, from the one before, and at last from the start. Where
/// the child dies of memory, the next one computes half as many examples at once, down to a single one.
async fn train(
    worker: &Worker,
    attempt: &Attempt,
    made: &Making<'_>,
    prepared: &mut AttemptSpec,
    folder: &Path,
) -> Result<AttemptOutcome, AttemptError> {
    loop {
        let snapshot = attempt.unless_stopped(snapshots::fetch_newest(worker, attempt, folder)).await?;
        prepared.resume = snapshot.as_ref().map(|snapshot| snapshot.place.clone());
        attempt_folder::write_spec(folder, prepared).await?;
        attempt.check()?;
        match (supervise::train(worker, attempt, made, folder).await, snapshot) {
            (Err(AttemptError::Failed { error, .. }), Some(snapshot)) if error.code == JobError::SNAPSHOT_UNUSABLE => {
                snapshot.refused(attempt, &error).await?;
            }
            (Err(AttemptError::Failed { error, retryable: true }), _) if error.code == JobError::OUT_OF_MEMORY => {
                halve_micro_batch(attempt, prepared, error).await?;
            }
            (ended, _) => return ended,
        }
    }
}

async fn halve_micro_batch(attempt: &Attempt, prepared: &mut AttemptSpec, error: JobError) -> Result<(), AttemptError> {
    let knobs = &mut prepared.hyperparameters;
    let was = knobs.micro_batch_size.unwrap_or(knobs.batch_size);
    if was <= 1 {
        return Err(AttemptError::fatal(error));
    }
    let is = was.div_ceil(2);
    knobs.micro_batch_size = Some(is);
    let message =
        format!("the training's process died of memory; the next one computes {is} examples at once instead of {was}");
    let data = json!({"was": was, "is": is, "reason": error.message});
    attempt.tell(NewEvent { level: EventLevel::Warn, code: "micro_batch_halved".to_owned(), message, data }).await
}

/// Files first, row second: the model's row and the job's end are one transaction after every byte is stored. Without time
/// for the bytes the training is not lost: another attempt goes on from its last snapshot.
async fn publish(
    worker: &Worker,
    attempt: &Attempt,
    spec: &DistillationSpec,
    lineage: Lineage,
    outcome: AttemptOutcome,
    folder: &Path,
) -> Result<(), AttemptError> {
    let job = &attempt.job;
    let artifact_prefix = format!("jobs/{}/e{}/checkpoint", job.id, attempt.lease.epoch);
    let stored = attempt.in_time(store_files(worker, attempt, &artifact_prefix, folder)).await;
    if let Err(AttemptError::Stopped(_)) = stored {
        discard(worker, &artifact_prefix).await;
    }
    let (published, metrics_file) = stored?;
    let calibration = outcome.calibration.clone().unwrap_or_default();
    let metrics = json!({
        "validation_accuracy": outcome.validation_accuracy,
        "test_accuracy": outcome.test_accuracy,
        "calibration_error": calibration.error_after,
        "calibration_error_before": calibration.error_before,
        "temperature": calibration.temperature,
        "parameters": outcome.parameters,
        "training_examples": outcome.training_examples,
        "best_step": outcome.best_step,
        "steps": outcome.steps,
    });
    let model = Model {
        id: ModelId(worker.clock.new_id()),
        project_id: job.project_id,
        name: spec.model_name.clone().unwrap_or_else(|| default_model_name(&lineage.base, spec.method, job.id)),
        base: lineage.base.clone(),
        base_model_id: lineage.base_model,
        job_id: job.id,
        lineage: Some(Lineage { seed: Some(outcome.seed), ..lineage }),
        task: spec.task.clone(),
        metrics: metrics.as_object().cloned().unwrap_or_default(),
        artifact_prefix,
        manifest_sha256: published.manifest_sha256,
        bytes: published.bytes,
        created_at: worker.clock.now(),
    };
    let result = DistillationResult { model: model.name.clone(), metrics_file: Some(metrics_file.id), outcome };
    let result = serde_json::to_value(&result)
        .map_err(|error| AttemptError::fatal(JobError::new("internal", format!("result: {error}"))))?;
    let folders = worker.registry.directory_names()?;
    let (store, files) = (attempt.store(), [&metrics_file]);
    attempt.persist(|| store.finish_distillation(attempt.lease, &result, &model, &files, &folders)).await?;
    Ok(())
}

async fn store_files(
    worker: &Worker,
    attempt: &Attempt,
    prefix: &str,
    folder: &Path,
) -> Result<(Published, File), AttemptError> {
    let published = worker.artifacts.publish_directory(prefix, &folder.join("checkpoint")).await?;
    Ok((published, step_metrics::store(worker, attempt).await?))
}

/// Removes what was stored of a checkpoint that no row will name. What stays behind costs disk alone.
async fn discard(worker: &Worker, prefix: &str) {
    if let Err(error) = worker.artifacts.delete_directory(prefix).await {
        tracing::warn!(prefix, error = %chain(&error), "half a checkpoint stays");
    }
}
