//! What a student is made of and how, gathered before it is trained: the files with their digests, whoever annotated them,
//! the base and the recipe.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Attempt, AttemptError, Worker, attempt_folder::output_of, inputs};
use crate::domain::{DataSource, DistillationSpec, FileId, HubCommit, Lineage, ModelId, TrainingSource, Validating};

/// What the student is trained from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// A model's name, on the Hub `owner/name`, or `from_scratch`.
    pub name: String,
    /// The registered model that it is, if it is one.
    pub model: Option<ModelId>,
    /// The Hub's commit that it is, if it is one.
    pub commit: Option<HubCommit>,
}

/// The lineage of the student that this attempt trains. It tells nothing of this worker: another one would make the same
/// student.
pub async fn gather(
    worker: &Worker,
    attempt: &Attempt,
    spec: &DistillationSpec,
    base: &Base,
) -> Result<Lineage, AttemptError> {
    let mut training = Vec::new();
    for source in &spec.training {
        let file = match source {
            TrainingSource::File(file) => *file,
            TrainingSource::AnnotationJob(job) => output_of(worker, attempt, *job).await?,
        };
        training.push(data_source(worker, attempt, file).await?);
    }
    let (validation, validation_fraction) = match &spec.validation {
        Validating::File(file) => (Some(data_source(worker, attempt, *file).await?), None),
        Validating::Fraction { fraction, .. } => (None, Some(*fraction)),
    };
    let test = match spec.test {
        Some(file) => Some(data_source(worker, attempt, file).await?),
        None => None,
    };
    Ok(Lineage {
        base: base.name.clone(),
        base_model: base.model,
        base_commit: base.commit.clone(),
        job: attempt.job.id,
        method: spec.method,
        label_source: spec.label_source,
        alpha: spec.alpha,
        rationales: spec.rationales,
        hyperparameters: spec.hyperparameters.clone(),
        seed: None,
        step: None,
        training,
        validation,
        validation_fraction,
        test,
    })
}

async fn data_source(worker: &Worker, attempt: &Attempt, id: FileId) -> Result<DataSource, AttemptError> {
    let file = inputs::file(worker, attempt.job.project_id, id).await?;
    let annotation = worker.store.annotation_of(id).await?;
    Ok(DataSource {
        file: id,
        filename: file.filename,
        digest: format!("sha256:{}", file.sha256),
        rows: file.validation.rows,
        annotation_job: annotation.as_ref().map(|(job, _)| *job),
        teacher: annotation.map(|(_, teacher)| teacher),
    })
}

/// The lineage as `stepwise.json` holds it.
pub fn members(lineage: &Lineage) -> BTreeMap<String, Value> {
    match serde_json::to_value(lineage) {
        Ok(Value::Object(members)) => members.into_iter().collect(),
        _ => unreachable!("a struct of plain values is a JSON object"),
    }
}
