//! The folder that a training works in: every input of the job, and `spec.json` that says what to do with them.

use std::path::{Path, PathBuf};

use super::{
    Attempt, AttemptError, Worker,
    inputs::{self, scratch_failed},
    lineage::{self, Base, Brought},
    models,
};
use crate::domain::{
    AttemptSpec, AttemptStudent, AttemptValidation, DistillationSpec, File, FileId, JobError, JobId, Lease, Lineage,
    StudentSource, StudentSpec, TrainingSource, Validating,
};

/// Names of files in the folder.
const VALIDATION: &str = "validation.jsonl";
const TEST: &str = "test.jsonl";

/// Where the attempt of a lease works.
pub fn place(worker: &Worker, lease: Lease) -> PathBuf {
    worker.scratch.join(format!("{}-e{}", lease.job_id, lease.epoch))
}

/// Whose attempt works in a folder of this name; none where it is no such folder.
pub fn lease_of(name: &str) -> Option<Lease> {
    let (job, epoch) = name.rsplit_once("-e")?;
    Some(Lease { job_id: job.parse().ok()?, epoch: epoch.parse().ok()? })
}

/// Removes what killed attempts at this job left on this disk. Their epochs are past, so nobody may use it any more.
pub async fn remove_older(worker: &Worker, attempt: &Attempt) {
    for epoch in 0..attempt.lease.epoch {
        let left = place(worker, Lease { epoch, ..attempt.lease });
        if let Err(error) = tokio::fs::remove_dir_all(&left).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %left.display(), %error, "cannot remove a scratch folder");
        }
    }
}

/// Brings every input into the folder; what to do with them, and what the student will be made of.
pub async fn prepare(
    worker: &Worker,
    attempt: &Attempt,
    spec: &DistillationSpec,
    folder: &Path,
) -> Result<(AttemptSpec, Lineage), AttemptError> {
    let brought = bring_all(worker, attempt, spec, folder).await?;
    let (student, base) = student(worker, attempt, spec).await?;
    let mut hyperparameters = spec.hyperparameters.clone();
    hyperparameters.threads.get_or_insert(worker.threads.try_into().unwrap_or(u32::MAX));
    let lineage = lineage::gather(worker, attempt, spec, &base, &brought).await?;
    let prepared = AttemptSpec {
        student,
        task: spec.task.clone(),
        method: spec.method,
        label_source: spec.label_source,
        alpha: spec.alpha,
        rationales: spec.rationales.clone(),
        label_prefix: spec.label_prefix.clone(),
        rationale_prefix: spec.rationale_prefix.clone(),
        max_dropped_ratio: spec.max_dropped_ratio,
        hyperparameters,
        training: (0..brought.training.len()).map(training_name).collect(),
        validation: match spec.validation {
            Validating::File(_) => AttemptValidation::File(VALIDATION.to_owned()),
            Validating::Fraction { fraction, seed } => AttemptValidation::Fraction { fraction, seed },
        },
        test: spec.test.map(|_| TEST.to_owned()),
        device: worker.device.clone(),
        lineage: lineage::members(&lineage),
        resume: None,
    };
    Ok((prepared, lineage))
}

fn training_name(number: usize) -> String {
    format!("training-{number}.jsonl")
}

async fn bring_all(
    worker: &Worker,
    attempt: &Attempt,
    spec: &DistillationSpec,
    folder: &Path,
) -> Result<Brought, AttemptError> {
    let bring = async |id: FileId, name: &str| -> Result<File, AttemptError> {
        let file = inputs::file(worker, attempt.job.project_id, id).await?;
        inputs::download(worker, &file, &folder.join(name)).await?;
        Ok(file)
    };
    let mut brought = Brought::default();
    for (number, source) in spec.training.iter().enumerate() {
        let file = match source {
            TrainingSource::File(file) => *file,
            TrainingSource::AnnotationJob(job) => output_of(worker, attempt, *job).await?,
        };
        brought.training.push(bring(file, &training_name(number)).await?);
    }
    if let Validating::File(file) = spec.validation {
        brought.validation = Some(bring(file, VALIDATION).await?);
    }
    if let Some(file) = spec.test {
        brought.test = Some(bring(file, TEST).await?);
    }
    Ok(brought)
}

/// The file that an annotation job wrote. One that is asked again at this moment is waited for.
async fn output_of(worker: &Worker, attempt: &Attempt, id: JobId) -> Result<FileId, AttemptError> {
    let job = worker.store.job(attempt.job.project_id, id).await?;
    let is_over = job.as_ref().is_none_or(|job| job.state.is_terminal());
    let output = job.and_then(|job| job.output_file());
    let missing = JobError::new("annotation_missing", format!("{id} has no output file"));
    output.ok_or(if is_over { AttemptError::fatal(missing) } else { AttemptError::passing(missing) })
}

async fn student(
    worker: &Worker,
    attempt: &Attempt,
    spec: &DistillationSpec,
) -> Result<(AttemptStudent, Base), AttemptError> {
    match &spec.student {
        StudentSpec::FromScratch(shape) => {
            let base = Base { name: StudentSpec::FROM_SCRATCH.to_owned(), model: None, commit: None };
            Ok((AttemptStudent::FromScratch(shape.clone()), base))
        }
        StudentSpec::Model(name) => {
            let target = spec.student_target.as_ref();
            let (source, open) = models::open(worker, attempt, name, target).await?;
            let known_as = match &source {
                StudentSource::Hub { id, .. } => id.repository(),
                // A checkpoint loses its model's name when that model is deleted; the job still has it.
                StudentSource::Checkpoint(_) if target.is_some() => name,
                source => source.name(),
            };
            let base = Base { name: known_as.to_owned(), model: source.model_id(), commit: source.commit().cloned() };
            Ok((AttemptStudent::Directory(open.directory.to_string_lossy().into_owned()), base))
        }
    }
}

/// Writes what the child reads first.
pub async fn write_spec(folder: &Path, spec: &AttemptSpec) -> Result<(), AttemptError> {
    let path = folder.join("spec.json");
    let text = serde_json::to_vec_pretty(spec)
        .map_err(|error| AttemptError::fatal(JobError::new("internal", format!("spec.json: {error}"))))?;
    tokio::fs::write(&path, text).await.map_err(|error| scratch_failed(&path, &error))
}
