//! The rows of an evaluation: those of the file that have ground truth.

use std::pin::Pin;

use futures::{Stream, StreamExt, TryStreamExt, future};

use super::StoredAnswers;
use crate::{
    domain::{EvaluationSpec, Example, File, JobError, LabelSet, Split},
    task::labels::refusal,
    worker::{Attempt, AttemptError, Worker, inputs},
};

/// What a first look at the rows found.
#[derive(Debug, Default)]
pub struct RowCounts {
    /// Rows with ground truth.
    pub labeled: u64,
    /// Rows without.
    pub unlabeled: u64,
    /// Rows whose split keeps them for training.
    pub train: u64,
    /// Rows with ground truth that the teacher answered.
    pub answered: u64,
}

impl RowCounts {
    /// Answers that so many models will give.
    pub fn answers(&self, models: usize) -> i64 {
        i64::try_from(self.labeled).unwrap_or(i64::MAX).saturating_mul(i64::try_from(models).unwrap_or(i64::MAX))
    }
}

/// Looks at all rows before a model is asked about the first one, which costs hours; this costs a second.
pub async fn count(
    worker: &Worker,
    attempt: &Attempt,
    spec: &EvaluationSpec,
    file: &File,
    teacher: Option<&StoredAnswers>,
) -> Result<RowCounts, AttemptError> {
    let mut found = RowCounts::default();
    let mut rows = std::pin::pin!(inputs::examples(worker, file));
    while found.labeled + found.unlabeled < spec.max_examples.unwrap_or(u64::MAX)
        && let Some(row) = rows.next().await
    {
        found.take(spec, &row?, teacher)?;
        attempt.check()?;
    }
    let fault = if found.labeled == 0 {
        JobError::new("missing_labels", format!("{} has no row with a \"label\" to score against", file.id))
            .with_hint("evaluate on rows with ground truth: {\"input\": …, \"label\": …}")
    } else if let Some(StoredAnswers::Annotated(_)) = teacher
        && found.answered == 0
    {
        JobError::new(
            "missing_teacher_answers",
            format!("the teacher answered none of the labeled rows of {}", file.id),
        )
        .with_hint("name an annotation job of the same inputs, or leave \"teacher\" out")
    } else {
        return Ok(found);
    };
    Err(AttemptError::fatal(fault))
}

impl RowCounts {
    fn take(
        &mut self,
        spec: &EvaluationSpec,
        row: &Example,
        teacher: Option<&StoredAnswers>,
    ) -> Result<(), AttemptError> {
        if !row.is_for(&Split::EVALUATED) {
            self.train += 1;
            return Ok(());
        }
        let Some(label) = &row.label else {
            self.unlabeled += 1;
            return Ok(());
        };
        // The choices of a row are its own affair: a label that is none of them only cannot be reached.
        let fixed = matches!(spec.task.label_set, LabelSet::Fixed(_));
        if let Some(reason) = refusal(&spec.task, &row.input, label.trim()).filter(|_| fixed) {
            let message = format!("row {:?} of {}: {reason}", row.id, spec.file);
            let hint = "mend the row, or evaluate with a task whose label set has the label";
            return Err(AttemptError::fatal(JobError::new("label_not_in_set", message).with_hint(hint)));
        }
        self.labeled += 1;
        self.answered += u64::from(teacher.is_some_and(|teacher| teacher.to_row(row).is_some()));
        Ok(())
    }
}

/// The rows that count, in the file's order.
pub fn labeled<'a>(
    worker: &'a Worker,
    spec: &'a EvaluationSpec,
    file: &'a File,
) -> impl Stream<Item = Result<Example, AttemptError>> + 'a {
    let limit = usize::try_from(spec.max_examples.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let evaluated = inputs::examples(worker, file).try_filter(|row| future::ready(row.is_for(&Split::EVALUATED)));
    evaluated.take(limit).try_filter(|row| future::ready(row.label.is_some()))
}

/// The next rows, at most `most`; none at the end.
pub async fn next_chunk(
    rows: &mut Pin<&mut impl Stream<Item = Result<Example, AttemptError>>>,
    most: usize,
) -> Result<Vec<Example>, AttemptError> {
    let mut chunk = Vec::new();
    while chunk.len() < most
        && let Some(row) = rows.next().await
    {
        chunk.push(row?);
    }
    Ok(chunk)
}
