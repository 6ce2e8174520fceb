//! A model under evaluation, and its answers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    domain::{EvaluationSpec, Example, JobError, LabelSet, ModelFiles, ModelTarget, TaskDefinition},
    inference::{InferenceError, Prediction, PredictionRequest},
    task::{labels, scoreboard::Answer},
    telemetry::chain,
    worker::{Attempt, AttemptError, Worker, models},
};

/// Time until a busy engine is asked again: clients come first, an evaluation has time.
const ENGINE_BUSY: Duration = Duration::from_millis(200);

/// One model.
pub struct EvaluatedModel {
    /// Its name.
    pub name: String,
    /// Time that its answers took.
    pub time: Duration,
    files: ModelFiles,
}

/// Every model of the spec, its files on this machine.
pub async fn open_all(
    worker: &Worker,
    attempt: &Attempt,
    spec: &EvaluationSpec,
) -> Result<Vec<EvaluatedModel>, AttemptError> {
    let mut models: Vec<EvaluatedModel> = Vec::new();
    for name in &spec.models {
        let model = open(worker, attempt, name, spec.targets.get(name)).await?;
        // A job that stored names alone may find that they have moved since it was submitted.
        if models.iter().any(|known| known.name == model.name) {
            let message = format!("{name:?} is {:?}, which another name of the job stands for too", model.name);
            return Err(AttemptError::fatal(JobError::new("duplicate_model", message)));
        }
        models.push(model);
    }
    Ok(models)
}

async fn open(
    worker: &Worker,
    attempt: &Attempt,
    name: &str,
    target: Option<&ModelTarget>,
) -> Result<EvaluatedModel, AttemptError> {
    let (source, files) = models::open(worker, attempt, name, target).await?;
    // What was ready when the job was submitted keeps the name that it had then.
    let name = if target.is_some() { name } else { source.name() };
    Ok(EvaluatedModel { name: name.to_owned(), time: Duration::ZERO, files })
}

impl EvaluatedModel {
    /// An answer a row, in their order.
    pub async fn answer(
        &mut self,
        worker: &Worker,
        attempt: &Attempt,
        task: &TaskDefinition,
        rows: &[Example],
    ) -> Result<Vec<Answer>, AttemptError> {
        let begun = Instant::now();
        let predictions = self.predict(worker, attempt, task, rows).await?;
        self.time += begun.elapsed();
        Ok(predictions.into_iter().map(answer).collect())
    }

    async fn predict(
        &self,
        worker: &Worker,
        attempt: &Attempt,
        task: &TaskDefinition,
        rows: &[Example],
    ) -> Result<Vec<Prediction>, AttemptError> {
        // Shared by all rows; the choices that a row lists are its own.
        let fixed: Option<Arc<[String]>> = match &task.label_set {
            LabelSet::Fixed(labels) => Some(labels.as_slice().into()),
            LabelSet::Open | LabelSet::Choices => None,
        };
        loop {
            let requests = rows.iter().map(|row| PredictionRequest {
                input: row.input.clone(),
                label_set: fixed.clone().or_else(|| labels::listed_choices(task, &row.input).map(Arc::from)),
                choices: labels::listed_choices(task, &row.input).map(Arc::from),
                rationale: false,
                generated_label: true,
                ..PredictionRequest::default()
            });
            match worker.engine.patient().predict(&self.files, requests.collect()).await {
                Ok(predictions) => return predictions.into_iter().collect::<Result<_, _>>().map_err(engine_failed),
                Err(InferenceError::Overloaded { .. }) => tokio::time::sleep(ENGINE_BUSY).await,
                Err(error) => return Err(engine_failed(error)),
            }
            attempt.check()?;
        }
    }
}

fn answer(prediction: Prediction) -> Answer {
    let scored = prediction.label_probs.is_some().then(|| prediction.label.clone());
    Answer {
        generated: prediction.generated_label.unwrap_or(prediction.label),
        scored,
        confidence: prediction.confidence,
        truncated: prediction.truncated,
    }
}

fn engine_failed(error: InferenceError) -> AttemptError {
    match error {
        InferenceError::ModelBroken { .. } | InferenceError::ModelTooLarge { .. } => {
            AttemptError::fatal(JobError::new("model_unusable", chain(&error)))
        }
        InferenceError::LabelTooLong { .. } => {
            let hint = "shorten the label, or evaluate with a task whose labels are shorter";
            AttemptError::fatal(JobError::new("label_too_long", chain(&error)).with_hint(hint))
        }
        error => AttemptError::passing(JobError::new("inference_failed", chain(&error))),
    }
}
