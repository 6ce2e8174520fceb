//! What a student is made of and how, gathered before it is trained: the files with their digests, whoever annotated them,
//! the base and the recipe.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Attempt, AttemptError, Worker};
use crate::domain::{DataSource, DistillationSpec, File, HubCommit, Lineage, ModelId, Validating};

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

/// The files that a training goes by, each where the spec has it.
#[derive(Debug, Default)]
pub struct Brought {
    /// The rows to learn, a file a source.
    pub training: Vec<File>,
    /// The rows to choose weights by, where they have a file of their own.
    pub validation: Option<File>,
    /// The rows to test on, if there are any.
    pub test: Option<File>,
}

/// The lineage of the student that this attempt trains. It tells nothing of this worker: another one would make the same
/// student.
pub async fn gather(
    worker: &Worker,
    attempt: &Attempt,
    spec: &DistillationSpec,
    base: &Base,
    brought: &Brought,
) -> Result<Lineage, AttemptError> {
    let mut training = Vec::new();
    for file in &brought.training {
        training.push(data_source(worker, file).await?);
    }
    let validation = match &brought.validation {
        Some(file) => Some(data_source(worker, file).await?),
        None => None,
    };
    let test = match &brought.test {
        Some(file) => Some(data_source(worker, file).await?),
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
        rationales: spec.rationales.clone(),
        hyperparameters: spec.hyperparameters.clone(),
        seed: None,
        step: None,
        training,
        validation,
        validation_fraction: match spec.validation {
            Validating::File(_) => None,
            Validating::Fraction { fraction, .. } => Some(fraction),
        },
        test,
    })
}

async fn data_source(worker: &Worker, file: &File) -> Result<DataSource, AttemptError> {
    let annotation = worker.store.annotation_of(file.id).await?;
    Ok(DataSource {
        file: file.id,
        filename: file.filename.clone(),
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
