//! An evaluation: each model answers the labeled rows of one file, twice over: in its own words (the paper's accuracy)
//! and by the best-scored label (what predictions return). The teacher's stored answers stand beside them, and every
//! subject is paired with every other on the same rows. What each row was answered goes to an output file.
//!
//! Rows pass through in chunks, so a file of any size is scored in bounded memory: a chunk is answered by one model after
//! the other, and a model is loaded once a chunk. A restarted attempt begins at the first row.

mod model;
mod rows;
mod teacher;

use serde_json::json;

use self::{model::EvaluatedModel, rows::RowCounts, teacher::StoredAnswers};
use super::{
    Attempt, AttemptError, Worker, inputs,
    output_file::{OutputFile, beside},
};
use crate::{
    domain::{Evaluation, EvaluationSpec, Example, File, JobError, ModelEvaluation, Progress, TeacherEvaluation},
    store::{EventLevel, NewEvent},
    task::scoreboard::{Answer, Marks, Scoreboard},
};

/// Rows handed to the engine at once; between two batches the attempt may stop.
const BATCH: usize = 64;
/// Rows in memory; many to one loading of a model.
const CHUNK: usize = 8192;

/// Scores every subject of `spec` and finishes the job.
pub async fn evaluate(worker: &Worker, attempt: &Attempt, spec: &EvaluationSpec) -> Result<(), AttemptError> {
    let file = inputs::file(worker, attempt.job.project_id, spec.file).await?;
    let teacher = StoredAnswers::read(worker, attempt, spec.teacher).await?;
    let counts = rows::count(worker, attempt, spec, &file, teacher.as_ref()).await?;
    let teacher = compared(attempt, teacher, &counts).await?;
    let models = attempt.unless_stopped(model::open_all(worker, attempt, spec)).await?;
    let mut evaluating = Evaluating {
        worker,
        attempt,
        spec,
        board: Scoreboard::new(spec.task.clone(), models.len(), teacher.is_some()),
        progress: Progress { step: 0, total: counts.answers(models.len()) },
        output: OutputFile::of_reports(worker, &attempt.job, "output", beside(&file.filename, "evaluated")).await?,
        models,
        teacher,
    };
    // An earlier attempt may have been further: this one begins at the first row.
    attempt.persist(|| attempt.store().progress(attempt.lease, evaluating.progress)).await?;
    // Nothing of it is kept, so a batch that takes long need not be waited for.
    match attempt.in_time(evaluating.answer_all(&file)).await {
        Ok(()) => evaluating.finish(&counts).await,
        Err(error) => {
            evaluating.output.discard().await;
            Err(error)
        }
    }
}

/// The teacher's answers, if there is anything to compare. The file's own are taken because they are there; where only rows
/// without ground truth have them, nobody asked for the comparison that is not made.
async fn compared(
    attempt: &Attempt,
    teacher: Option<StoredAnswers>,
    counts: &RowCounts,
) -> Result<Option<StoredAnswers>, AttemptError> {
    if teacher.is_none() || counts.answered > 0 {
        return Ok(teacher);
    }
    let message = "no row with a \"label\" has a \"teacher_label\": the teacher is not compared".to_owned();
    let code = "teacher_left_out".to_owned();
    attempt.tell(NewEvent { level: EventLevel::Warn, code, message, data: json!({}) }).await?;
    Ok(None)
}

/// An evaluation under way.
struct Evaluating<'a> {
    worker: &'a Worker,
    attempt: &'a Attempt,
    spec: &'a EvaluationSpec,
    models: Vec<EvaluatedModel>,
    teacher: Option<StoredAnswers>,
    board: Scoreboard,
    progress: Progress,
    output: OutputFile,
}

impl Evaluating<'_> {
    async fn answer_all(&mut self, file: &File) -> Result<(), AttemptError> {
        let mut rows = std::pin::pin!(rows::labeled(self.worker, self.spec, file));
        loop {
            let chunk = rows::next_chunk(&mut rows, CHUNK).await?;
            if chunk.is_empty() {
                return Ok(());
            }
            self.answer_chunk(&chunk).await?;
        }
    }

    async fn answer_chunk(&mut self, chunk: &[Example]) -> Result<(), AttemptError> {
        let mut answers = Vec::with_capacity(self.models.len());
        for at in 0..self.models.len() {
            answers.push(self.answers_of(at, chunk).await?);
        }
        for (place, row) in chunk.iter().enumerate() {
            let answers: Vec<&Answer> = answers.iter().map(|answers| &answers[place]).collect();
            let teacher = self.teacher.as_ref().map(|teacher| teacher.to_row(row));
            let marks = self.board.add(row, &answers, teacher.flatten());
            let line = self.line(row, &answers, teacher, &marks);
            self.output.push(&line).await?;
        }
        Ok(())
    }

    /// One model's answers to a chunk, in its order.
    async fn answers_of(&mut self, at: usize, chunk: &[Example]) -> Result<Vec<Answer>, AttemptError> {
        let mut answers = Vec::with_capacity(chunk.len());
        for batch in chunk.chunks(BATCH) {
            self.attempt.check()?;
            answers.extend(self.models[at].answer(self.worker, self.attempt, &self.spec.task, batch).await?);
            self.progress.step += i64::try_from(batch.len()).unwrap_or(0);
            self.attempt.persist(|| self.attempt.store().progress(self.attempt.lease, self.progress)).await?;
        }
        Ok(answers)
    }

    /// A row of the output file. `teacher` is the teacher's answer to it, which may be none.
    fn line(
        &self,
        row: &Example,
        answers: &[&Answer],
        teacher: Option<Option<&str>>,
        marks: &Marks,
    ) -> serde_json::Value {
        let models = self.models.iter().zip(answers).zip(&marks.models).map(|((model, answer), (correct, scored))| {
            let said = json!({
                "generated": answer.generated,
                "scored_label": answer.scored,
                "confidence": answer.confidence,
                "correct": correct,
                "scored_correct": scored,
            });
            (model.name.clone(), said)
        });
        json!({
            "id": row.id,
            "input": row.input,
            "label": row.label,
            "models": models.collect::<serde_json::Map<_, _>>(),
            "teacher": teacher.map(|label| json!({"label": label, "correct": marks.teacher})),
        })
    }

    async fn finish(self, counts: &RowCounts) -> Result<(), AttemptError> {
        let names: Vec<String> = self.models.iter().map(|model| model.name.clone()).collect();
        let models = self.models.iter().zip(self.board.models()).map(|(model, found)| ModelEvaluation {
            model: model.name.clone(),
            scores: found.scores,
            scored_correct: found.scored.map(|(correct, ..)| correct),
            scored_accuracy: found.scored.map(|(_, accuracy, _)| accuracy),
            scored_accuracy_ci95: found.scored.map(|(.., interval)| interval),
            calibration_error: found.calibration_error,
            truncated_inputs: found.truncated,
            seconds: model.time.as_secs_f64(),
        });
        let evaluation = Evaluation {
            task: self.spec.task.name.clone(),
            examples: counts.labeled,
            unlabeled_rows: counts.unlabeled,
            train_rows: counts.train,
            majority_class_accuracy: self.board.majority_accuracy(),
            models: models.collect(),
            teacher: self.board.teacher().map(|(scores, unanswered)| TeacherEvaluation { scores, unanswered }),
            pairs: self.board.pairs(&names),
            output_file: self.output.id,
        };
        let result = serde_json::to_value(&evaluation)
            .map_err(|error| AttemptError::fatal(JobError::new("internal", format!("result: {error}"))))?;
        let output = self.attempt.in_time(self.output.close(self.worker, &self.attempt.job)).await?;
        let (store, lease) = (self.attempt.store(), self.attempt.lease);
        self.attempt.persist(|| async { store.finish_with_files(lease, &result, &[&output]).await }).await
    }
}
