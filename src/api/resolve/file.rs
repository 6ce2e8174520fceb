//! Files that a job reads: there, readable, and with what the job needs in their lines.

use std::collections::HashSet;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc::{Receiver, channel};

use super::Refusals;
use crate::{
    api::{AppState, error::ApiError},
    domain::{Example, File, FileId, FileRows, FileStatus, LabelSet, LabelSource, LineError, Split, TaskDefinition},
    store::Store,
    task::{labels::not_in_set, lines::LineReader},
};

/// Rows whose labels are looked at when a job is submitted; the trainer looks at all of them.
const MAX_CHECKED_ROWS: u64 = 200_000;
/// Lines that a refusal names.
const MAX_NAMED_LINES: usize = 10;
/// Chunks that may wait for the thread that looks at labels.
const CHUNKS_WAITING: usize = 2;

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
        Some(file) if file.validation.rows == 0 => {
            let detail = format!("{id} is empty: the job that wrote {} had nothing for it", file.filename);
            refusals.add(pointer, "invalid_file", detail);
        }
        Some(file) if file.validation.valid_rows == 0 => {
            let detail = format!("no line of {id} is an example; {} is a job's report", file.filename);
            refusals.add(pointer, "invalid_file", detail);
        }
        Some(_) => return Ok(found),
    }
    Ok(None)
}

/// The file with what its rows of these splits hold. One without such a row is refused: it was named for them, and the job
/// would go without them and not say so.
pub async fn usable_for(
    state: &AppState,
    refusals: &mut Refusals,
    pointer: &str,
    id: FileId,
    splits: &[Split],
) -> Result<Option<(File, FileRows)>, ApiError> {
    let Some(file) = usable(state, refusals, pointer, id).await? else { return Ok(None) };
    let counts = file.validation.rows_of(splits);
    if counts.rows == 0 {
        refuse_without_rows(refusals, pointer, id, splits);
        return Ok(None);
    }
    Ok(Some((file, counts)))
}

/// Refuses a file that has no row of the splits that it is named for.
pub fn refuse_without_rows(refusals: &mut Refusals, pointer: &str, id: FileId, splits: &[Split]) {
    let names: Vec<&str> = splits.iter().map(|split| split.as_str()).collect();
    let names = names.join(" or ");
    let detail = format!("every row of {id} is of another split than {names}; name a file that has such rows");
    refusals.add(pointer, "no_rows_of_split", detail);
}

/// Refuses a file with a label that the task's fixed set does not have, in the rows that are looked for. The reading is
/// done on a thread of its own: it may take a second of a core.
pub async fn check_labels(
    state: &AppState,
    refusals: &mut Refusals,
    pointer: &str,
    file: &File,
    look_for: &Strangers<'_>,
) -> Result<(), ApiError> {
    let LabelSet::Fixed(labels) = &look_for.task.label_set else { return Ok(()) };
    let mut bytes = match state.artifacts.read(&file.artifact_key).await {
        Ok(bytes) => bytes,
        // It was deleted since it was found, else it is a fault.
        Err(error) => return usable(state, refusals, pointer, file.id).await?.map_or(Ok(()), |_| Err(error.into())),
    };
    let search = Search {
        known: labels.iter().cloned().collect(),
        labels: labels.clone(),
        source: look_for.source,
        splits: look_for.splits,
        rows: 0,
        found: Vec::new(),
    };
    let (chunks, arriving) = channel(CHUNKS_WAITING);
    let thread = tokio::task::spawn_blocking(move || search.run(arriving));
    while let Some(chunk) = bytes.next().await {
        // A thread that takes no more has seen enough.
        if chunks.send(chunk?).await.is_err() {
            break;
        }
    }
    drop(chunks);
    for (line, reason) in thread.await.map_err(|error| ApiError::Internal(Box::new(error)))? {
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
    /// In rows of these splits, and in those without one.
    pub splits: &'static [Split],
}

/// A search for them under way.
struct Search {
    known: HashSet<String>,
    labels: Vec<String>,
    source: LabelSource,
    splits: &'static [Split],
    rows: u64,
    found: Vec<(u64, String)>,
}

impl Search {
    /// The first lines with such a label, and why it is none.
    fn run(mut self, mut arriving: Receiver<Bytes>) -> Vec<(u64, String)> {
        let mut lines = LineReader::new();
        while let Some(chunk) = arriving.blocking_recv() {
            lines.push(&chunk, &mut |place, row| self.take(place.number, row));
            if self.rows >= MAX_CHECKED_ROWS || self.found.len() >= MAX_NAMED_LINES {
                return self.found;
            }
        }
        lines.finish(&mut |place, row| self.take(place.number, row));
        self.found
    }

    fn take(&mut self, line: u64, row: Result<Example, LineError>) {
        self.rows += 1;
        let Some(example) = row.ok().filter(|example| example.is_for(self.splits)) else { return };
        let stranger = example.label_from(self.source).filter(|label| !self.known.contains(*label));
        if let (Some(label), true) = (stranger, self.found.len() < MAX_NAMED_LINES) {
            self.found.push((line, not_in_set(label, &self.labels)));
        }
    }
}
