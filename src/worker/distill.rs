//! A distillation: prepare a folder, let the child train in it, publish what it leaves.

use std::{collections::BTreeMap, path::Path};

use serde_json::json;

use super::{
    Attempt, AttemptError, Worker,
    child::TrainingChild,
    inputs::{self, scratch_failed},
};
use crate::{
    domain::{
        AttemptOutcome, AttemptSpec, AttemptStudent, AttemptValidation, DistillationSpec, FileId, Frame, JobError,
        JobId, Model, ModelId, Progress, StudentSpec, TrainingSource, Validating,
    },
    store::{EventLevel, NewEvent},
};

/// Trains the student of `spec` and registers it.
pub async fn distill(worker: &Worker, attempt: &Attempt, spec: &DistillationSpec) -> Result<(), AttemptError> {
    let folder = worker.scratch.join(format!("{}-e{}", attempt.job.id, attempt.lease.epoch));
    remove_older(worker, attempt).await;
    tokio::fs::create_dir_all(&folder).await.map_err(|error| scratch_failed(&folder, &error))?;
    let result = in_folder(worker, attempt, spec, &folder).await;
    // A leftover costs disk, not truth; `post_mortem` has read what it needs.
    if let Err(error) = tokio::fs::remove_dir_all(&folder).await {
        tracing::warn!(?folder, %error, "cannot remove a scratch folder");
    }
    result
}

/// Removes what killed attempts at this job left on this disk. Their epochs are past, so nobody may use it any more.
async fn remove_older(worker: &Worker, attempt: &Attempt) {
    for epoch in 0..attempt.lease.epoch {
        let left = worker.scratch.join(format!("{}-e{epoch}", attempt.job.id));
        if let Err(error) = tokio::fs::remove_dir_all(&left).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %left.display(), %error, "cannot remove a scratch folder");
        }
    }
}

async fn in_folder(
    worker: &Worker,
    attempt: &Attempt,
    spec: &DistillationSpec,
    folder: &Path,
) -> Result<(), AttemptError> {
    let prepared = prepare(worker, attempt, spec, folder).await?;
    write_spec(folder, &prepared).await?;
    attempt.check()?;
    let outcome = train(worker, attempt, folder).await?;
    publish(worker, attempt, spec, &prepared, outcome, folder).await
}

/// Brings every input into the folder.
async fn prepare(
    worker: &Worker,
    attempt: &Attempt,
    spec: &DistillationSpec,
    folder: &Path,
) -> Result<AttemptSpec, AttemptError> {
    let mut training = Vec::new();
    for (number, source) in spec.training.iter().enumerate() {
        let name = format!("training-{number}.jsonl");
        let file = match source {
            TrainingSource::File(file) => *file,
            TrainingSource::AnnotationJob(job) => output_of(worker, attempt, *job).await?,
        };
        bring(worker, attempt, file, &folder.join(&name)).await?;
        training.push(name);
    }
    let validation = match &spec.validation {
        Validating::File(file) => {
            bring(worker, attempt, *file, &folder.join("validation.jsonl")).await?;
            AttemptValidation::File("validation.jsonl".to_owned())
        }
        Validating::Fraction { fraction, seed } => AttemptValidation::Fraction { fraction: *fraction, seed: *seed },
    };
    let test = match spec.test {
        Some(file) => {
            bring(worker, attempt, file, &folder.join("test.jsonl")).await?;
            Some("test.jsonl".to_owned())
        }
        None => None,
    };
    let (student, base) = student(worker, attempt, &spec.student).await?;
    let mut hyperparameters = spec.hyperparameters.clone();
    hyperparameters.threads.get_or_insert(worker.threads.try_into().unwrap_or(u32::MAX));
    Ok(AttemptSpec {
        student,
        task: spec.task.clone(),
        method: spec.method,
        label_source: spec.label_source,
        alpha: spec.alpha,
        label_prefix: spec.label_prefix.clone(),
        rationale_prefix: spec.rationale_prefix.clone(),
        max_dropped_ratio: spec.max_dropped_ratio,
        hyperparameters,
        training,
        validation,
        test,
        device: worker.device.clone(),
        lineage: BTreeMap::from([
            ("base".to_owned(), json!(base)),
            ("job".to_owned(), json!(attempt.job.id)),
            ("training".to_owned(), json!(spec.training)),
            ("label_source".to_owned(), json!(spec.label_source)),
        ]),
    })
}

async fn bring(worker: &Worker, attempt: &Attempt, id: FileId, path: &Path) -> Result<(), AttemptError> {
    let file = inputs::file(worker, attempt.job.project_id, id).await?;
    inputs::download(worker, &file, path).await
}

async fn output_of(worker: &Worker, attempt: &Attempt, id: JobId) -> Result<FileId, AttemptError> {
    let job = worker.store.job(attempt.job.project_id, id).await?;
    let output = job.and_then(|job| job.result).and_then(|result| result.get("output_file")?.as_str()?.parse().ok());
    output.ok_or_else(|| AttemptError::fatal(JobError::new("annotation_missing", format!("{id} has no output file"))))
}

async fn student(
    worker: &Worker,
    attempt: &Attempt,
    spec: &StudentSpec,
) -> Result<(AttemptStudent, String), AttemptError> {
    match spec {
        StudentSpec::FromScratch(shape) => Ok((AttemptStudent::FromScratch(shape.clone()), "from_scratch".to_owned())),
        StudentSpec::Model(name) => {
            let found = worker.registry.find(attempt.job.project_id, name).await?;
            let missing =
                || AttemptError::fatal(JobError::new("student_missing", format!("there is no model {name:?}")));
            let open = worker.registry.open(&found.ok_or_else(missing)?).await?;
            Ok((AttemptStudent::Directory(open.directory.to_string_lossy().into_owned()), name.clone()))
        }
    }
}

async fn write_spec(folder: &Path, spec: &AttemptSpec) -> Result<(), AttemptError> {
    let path = folder.join("spec.json");
    let text = serde_json::to_vec_pretty(spec)
        .map_err(|error| AttemptError::fatal(JobError::new("internal", format!("spec.json: {error}"))))?;
    tokio::fs::write(&path, text).await.map_err(|error| scratch_failed(&path, &error))
}

/// Runs the child to its last frame, passing on what it says.
async fn train(worker: &Worker, attempt: &Attempt, folder: &Path) -> Result<AttemptOutcome, AttemptError> {
    let mut child = TrainingChild::start(&worker.program, folder, worker.threads)?;
    loop {
        let frame = tokio::select! {
            frame = child.next_frame() => frame,
            stop = attempt.until_stopped() => {
                child.kill().await;
                return Err(AttemptError::Stopped(stop));
            }
        };
        match frame {
            Ok(Some(Frame::Finished { outcome })) => return Ok(outcome),
            Ok(Some(Frame::Failed { error, retryable })) => return Err(AttemptError::Failed { error, retryable }),
            Ok(Some(frame)) => match pass_on(attempt, frame).await {
                Ok(()) => {}
                Err(error) => {
                    child.kill().await;
                    return Err(error);
                }
            },
            Ok(None) => return Err(child.post_mortem().await),
            Err(error) => {
                child.kill().await;
                return Err(error);
            }
        }
    }
}

async fn pass_on(attempt: &Attempt, frame: Frame) -> Result<(), AttemptError> {
    let (store, lease) = (attempt.store(), attempt.lease);
    match frame {
        Frame::Progress { step, total } => attempt.persist(|| store.progress(lease, Progress { step, total })).await,
        Frame::Metrics { step, values } => attempt.persist(|| store.append_metrics(lease, step, &values)).await,
        Frame::Event { level, code, message, data } => {
            let level = level.parse().unwrap_or(EventLevel::Info);
            let event = NewEvent { level, code, message, data };
            attempt.persist(|| store.append_event(lease, &event)).await
        }
        Frame::Finished { .. } | Frame::Failed { .. } => Ok(()),
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
