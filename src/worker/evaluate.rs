//! An evaluation: each model answers the labeled rows of one file, twice over: in its own words (the paper's accuracy)
//! and by the best-scored label (what predictions return).

use std::time::{Duration, Instant};

use futures::StreamExt;

use super::{Attempt, AttemptError, Worker, inputs};
use crate::{
    domain::{Evaluation, EvaluationSpec, Example, JobError, ModelEvaluation, Progress, TaskDefinition},
    inference::{InferenceError, ModelFiles, Prediction, PredictionRequest},
    registry,
    task::{labels, majority, scoring},
    telemetry::chain,
};

/// Rows handed to the engine at once; between two batches the attempt may stop.
const BATCH: usize = 64;

/// Scores every model of `spec` and finishes the job.
pub async fn evaluate(worker: &Worker, attempt: &Attempt, spec: &EvaluationSpec) -> Result<(), AttemptError> {
    let (rows, unlabeled_rows) = labeled_rows(worker, attempt, spec).await?;
    let total = i64::try_from(rows.len() * spec.models.len()).unwrap_or(i64::MAX);
    let mut progress = Progress { step: 0, total };
    let mut models = Vec::new();
    let mut task = spec.task.clone();
    for name in &spec.models {
        let subject = Subject::open(worker, attempt, spec, name).await?;
        models.push(subject.score(worker, attempt, &rows, &mut progress).await?);
        task.get_or_insert(subject.task);
    }
    let task = task.unwrap_or_default();
    let truths: Vec<_> = rows.iter().filter_map(|row| row.label.clone()).collect();
    let evaluation = Evaluation {
        models,
        unlabeled_rows,
        majority_class_accuracy: majority::majority_accuracy(&task, &truths),
        teacher_accuracy: teacher_accuracy(&task, &rows),
    };
    let result = serde_json::to_value(&evaluation)
        .map_err(|error| AttemptError::fatal(JobError::new("internal", format!("result: {error}"))))?;
    attempt.persist(|| attempt.store().finish(attempt.lease, &result)).await
}

async fn labeled_rows(
    worker: &Worker,
    attempt: &Attempt,
    spec: &EvaluationSpec,
) -> Result<(Vec<Example>, u64), AttemptError> {
    let file = inputs::file(worker, attempt.job.project_id, spec.file).await?;
    let limit = usize::try_from(spec.max_examples.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let mut examples = std::pin::pin!(inputs::examples(worker, &file).take(limit));
    let (mut rows, mut unlabeled) = (Vec::new(), 0);
    while let Some(example) = examples.next().await {
        let example = example?;
        if example.label.is_some() {
            rows.push(example);
        } else {
            unlabeled += 1;
        }
    }
    if rows.is_empty() {
        let message = format!("{} has no row with a label", file.id);
        return Err(AttemptError::fatal(JobError::new("missing_labels", message)));
    }
    Ok((rows, unlabeled))
}

/// The accuracy of the labels that a teacher left in the file; none where it left none.
fn teacher_accuracy(task: &TaskDefinition, rows: &[Example]) -> Option<f64> {
    rows.iter().any(|row| row.teacher_label.is_some()).then(|| {
        let right = rows.iter().filter(|row| is_right(task, row, row.teacher_label.as_deref())).count();
        ratio(right, rows.len())
    })
}

fn is_right(task: &TaskDefinition, row: &Example, answer: Option<&str>) -> bool {
    let pair = answer.zip(row.label.as_deref());
    pair.is_some_and(|(answer, truth)| scoring::is_correct(task, answer, truth))
}

/// One model under evaluation.
struct Subject {
    name: String,
    files: ModelFiles,
    task: TaskDefinition,
}

impl Subject {
    async fn open(worker: &Worker, attempt: &Attempt, spec: &EvaluationSpec, name: &str) -> Result<Self, AttemptError> {
        let found = worker.registry.find(attempt.job.project_id, name).await?;
        let missing = || AttemptError::fatal(JobError::new("model_missing", format!("there is no model {name:?}")));
        let source = found.ok_or_else(missing)?;
        let open = worker.registry.open(&source).await?;
        let task = match &spec.task {
            Some(task) => task.clone(),
            None => registry::card(&open.directory)?.task,
        };
        let files = ModelFiles { key: open.key, directory: open.directory };
        Ok(Self { name: source.name().to_owned(), files, task })
    }

    async fn score(
        &self,
        worker: &Worker,
        attempt: &Attempt,
        rows: &[Example],
        progress: &mut Progress,
    ) -> Result<ModelEvaluation, AttemptError> {
        let begun = Instant::now();
        let (mut generated, mut scored, mut scorable) = (0, 0, false);
        for batch in rows.chunks(BATCH) {
            attempt.check()?;
            let predictions = self.predict(worker, attempt, batch).await?;
            for (row, prediction) in batch.iter().zip(&predictions) {
                generated += usize::from(is_right(&self.task, row, prediction.generated_label.as_deref()));
                scored += usize::from(is_right(&self.task, row, Some(&prediction.label)));
                scorable |= prediction.label_probs.is_some();
            }
            progress.step += i64::try_from(batch.len()).unwrap_or(0);
            attempt.persist(|| attempt.store().progress(attempt.lease, *progress)).await?;
        }
        Ok(ModelEvaluation {
            model: self.name.clone(),
            examples: rows.len() as u64,
            accuracy: ratio(generated, rows.len()),
            scored_accuracy: scorable.then(|| ratio(scored, rows.len())),
            seconds: begun.elapsed().as_secs_f64(),
        })
    }

    async fn predict(
        &self,
        worker: &Worker,
        attempt: &Attempt,
        rows: &[Example],
    ) -> Result<Vec<Prediction>, AttemptError> {
        loop {
            let requests = rows.iter().map(|row| PredictionRequest {
                input: row.input.clone(),
                label_set: labels::allowed_labels(&self.task, &row.input),
                rationale: false,
                generated_label: true,
            });
            match worker.engine.predict(&self.files, requests.collect()).await {
                Ok(predictions) => return predictions.into_iter().collect::<Result<_, _>>().map_err(engine_failed),
                // Clients come first; an evaluation has time.
                Err(InferenceError::Overloaded) => tokio::time::sleep(Duration::from_millis(200)).await,
                Err(error) => return Err(engine_failed(error)),
            }
            attempt.check()?;
        }
    }
}

fn engine_failed(error: InferenceError) -> AttemptError {
    match error {
        InferenceError::ModelBroken { .. } => AttemptError::fatal(JobError::new("model_unusable", chain(&error))),
        error => AttemptError::passing(JobError::new("inference_failed", chain(&error))),
    }
}

#[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^52")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}
