//! Files that a job reads: there, readable, and with what the job needs in their lines.

use futures::StreamExt;

use super::Refusals;
use crate::{
    api::{AppState, error::ApiError},
    domain::{Example, File, FileId, FileStatus, LabelSet, LabelSource, LineError, TaskDefinition},
    store::Store,
    task::{labels::refusal, lines::LineReader},
};

/// Rows whose labels are looked at when a job is submitted; the trainer looks at all of them.
const MAX_CHECKED_ROWS: u64 = 200_000;
/// Lines that a refusal names.
const MAX_NAMED_LINES: usize = 10;

/// The file, unless it is missing or has bad lines, which is refused.
pub async fn usable(
    state: &AppState,
    refusals: &mut Refusals,
    pointer: &str,
    id: FileId,
) -> Result<Option<File>, ApiError> {
    let found = state.store.file(Store::default_project(), id).await?;
    match &found {
        None => refusals.add(pointer, "file_not_found", format!("there is no file {id}; upload it to /v1/files")),
        Some(file) if file.status == FileStatus::Error => {
            for error in file.validation.errors.iter().take(MAX_NAMED_LINES) {
                let detail = format!("{id} has bad lines; line {}: {}", error.line, error.message);
                refusals.add_line(pointer, error.line, "invalid_file", detail);
            }
            return Ok(None);
        }
        Some(file) if file.validation.valid_rows == 0 => {
            let detail = format!("no line of {id} is an example; {} is a job's report", file.filename);
            refusals.add(pointer, "invalid_file", detail);
        }
        Some(_) => return Ok(found),
    }
    Ok(None)
}

/// Refuses a file with a label that the task's fixed set does not have.
pub async fn check_labels(
    state: &AppState,
    refusals: &mut Refusals,
    pointer: &str,
    file: &File,
    look_for: &Strangers<'_>,
) -> Result<(), ApiError> {
    if !matches!(look_for.task.label_set, LabelSet::Fixed(_)) {
        return Ok(());
    }
    let mut found = Vec::new();
    let mut rows = 0;
    let mut lines = LineReader::new();
    let mut bytes = state.artifacts.read(&file.artifact_key).await?;
    while let Some(chunk) = bytes.next().await {
        if rows >= MAX_CHECKED_ROWS || found.len() >= MAX_NAMED_LINES {
            break;
        }
        lines.push(&chunk?, &mut |place, row| look_for.take(place.number, row, &mut rows, &mut found));
    }
    lines.finish(&mut |place, row| look_for.take(place.number, row, &mut rows, &mut found));
    for (line, reason) in found.into_iter().take(MAX_NAMED_LINES) {
        refusals.add_line(pointer, line, "label_not_in_set", format!("line {line} of {}: {reason}", file.id));
    }
    Ok(())
}

/// Labels that a task does not know.
#[derive(Debug, Clone, Copy)]
pub struct Strangers<'a> {
    /// The task.
    pub task: &'a TaskDefinition,
    /// Whose labels are looked at.
    pub source: LabelSource,
}

impl Strangers<'_> {
    fn take(&self, line: u64, row: Result<Example, LineError>, rows: &mut u64, found: &mut Vec<(u64, String)>) {
        *rows += 1;
        let Ok(example) = row else { return };
        let Some(label) = example.label_from(self.source) else { return };
        if let (Some(reason), true) = (refusal(self.task, &example.input, label), found.len() < MAX_NAMED_LINES) {
            found.push((line, reason));
        }
    }
}
