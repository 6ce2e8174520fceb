//! Labels that a task does not know, in the lines of a file. A row to score against must have none of them; of rows to learn
//! from some may, and are left out.

use std::collections::HashSet;

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;

use super::{Refusals, file::usable};
use crate::{
    api::{ProjectState, error::ApiError, file_rows::on_a_thread},
    domain::{Example, File, FileId, LabelSet, LabelSource, LineError, Scorer, Split, TaskDefinition},
    task::{
        labels::not_in_set,
        lines::LineReader,
        scoring::{LabelFault, label_fault},
    },
};

/// Rows whose labels are looked at when a job is submitted; the trainer looks at all of them.
const MAX_CHECKED_ROWS: u64 = 200_000;
/// Lines that a refusal names.
const MAX_NAMED_LINES: usize = 10;

/// Whose labels are looked at, and where.
#[derive(Debug, Clone, Copy)]
pub struct Strangers<'a> {
    /// The task.
    pub task: &'a TaskDefinition,
    /// Whose labels are looked at.
    pub source: LabelSource,
    /// In rows of these splits, and in those without one.
    pub splits: &'static [Split],
}

/// Rows whose label cannot be learned.
#[derive(Debug, Default)]
pub struct Found {
    /// How many there are, at least: of a long file, in its beginning.
    pub rows: u64,
    /// The first of them: line and fault.
    pub lines: Vec<(u64, LabelFault)>,
}

/// Refuses a file with a label that the task's fixed set does not have, in the rows that are looked for.
pub async fn refuse(
    state: &ProjectState,
    refusals: &mut Refusals,
    pointer: &str,
    file: &File,
    look_for: &Strangers<'_>,
) -> Result<(), ApiError> {
    if !matches!(look_for.task.label_set, LabelSet::Fixed(_)) {
        return Ok(());
    }
    let found = search(state, refusals, pointer, file, Search::new(look_for, MAX_NAMED_LINES)).await?;
    found.name_lines(refusals, pointer, file.id, "");
    Ok(())
}

/// Counts the rows whose label a student must not learn, in the rows that are looked for.
pub async fn count(
    state: &ProjectState,
    refusals: &mut Refusals,
    pointer: &str,
    file: &File,
    look_for: &Strangers<'_>,
) -> Result<Found, ApiError> {
    let TaskDefinition { label_set, scorer, .. } = look_for.task;
    if *label_set == LabelSet::Open && *scorer == Scorer::ExactMatch {
        return Ok(Found::default());
    }
    search(state, refusals, pointer, file, Search::new(look_for, usize::MAX)).await
}

impl Found {
    /// Adds an error for each line that is known.
    pub fn name_lines(&self, refusals: &mut Refusals, pointer: &str, file: FileId, remark: &str) {
        for (line, fault) in &self.lines {
            let detail = format!("line {line} of {file}: {}{remark}", fault.words());
            refusals.add_line(pointer, *line, code(fault), detail);
        }
    }
}

/// A fault's stable name.
pub fn code(fault: &LabelFault) -> &'static str {
    match fault {
        LabelFault::NotInSet(_) => "label_not_in_set",
        LabelFault::NoValue(_) => "label_without_value",
    }
}

async fn search(
    state: &ProjectState,
    refusals: &mut Refusals,
    pointer: &str,
    file: &File,
    search: Search,
) -> Result<Found, ApiError> {
    match state.artifacts.read(&file.artifact_key).await {
        Ok(bytes) => on_a_thread(bytes, move |arriving| search.run(arriving)).await,
        // It was deleted since it was found, else it is a fault.
        Err(error) => {
            let found = usable(state, refusals, pointer, file.id).await?;
            found.map_or(Ok(Found::default()), |_| Err(error.into()))
        }
    }
}

/// A search under way.
struct Search {
    task: TaskDefinition,
    /// The labels of a fixed set, which may be many.
    known: HashSet<String>,
    source: LabelSource,
    splits: &'static [Split],
    /// It ends when it has found so many.
    enough: u64,
    rows: u64,
    found: Found,
}

impl Search {
    fn new(look_for: &Strangers<'_>, enough: usize) -> Self {
        let known = match &look_for.task.label_set {
            LabelSet::Fixed(labels) => labels.iter().cloned().collect(),
            LabelSet::Open | LabelSet::Choices => HashSet::new(),
        };
        let (source, splits, enough) = (look_for.source, look_for.splits, enough as u64);
        Self { task: look_for.task.clone(), known, source, splits, enough, rows: 0, found: Found::default() }
    }

    fn run(mut self, mut arriving: Receiver<Bytes>) -> Found {
        let mut lines = LineReader::new();
        while let Some(chunk) = arriving.blocking_recv() {
            lines.push(&chunk, &mut |place, row| self.take(place.number, row));
            if self.rows >= MAX_CHECKED_ROWS || self.found.rows >= self.enough {
                return self.found;
            }
        }
        lines.finish(&mut |place, row| self.take(place.number, row));
        self.found
    }

    fn take(&mut self, line: u64, row: Result<Example, LineError>) {
        self.rows += 1;
        let Some(example) = row.ok().filter(|example| example.is_for(self.splits)) else { return };
        let Some(fault) = example.label_from(self.source).and_then(|label| self.fault(&example.input, label)) else {
            return;
        };
        self.found.rows += 1;
        if self.found.lines.len() < MAX_NAMED_LINES {
            self.found.lines.push((line, fault));
        }
    }

    fn fault(&self, input: &str, label: &str) -> Option<LabelFault> {
        match &self.task.label_set {
            LabelSet::Fixed(_) if self.known.contains(label) => None,
            LabelSet::Fixed(labels) => Some(LabelFault::NotInSet(not_in_set(label, labels))),
            LabelSet::Open | LabelSet::Choices => label_fault(&self.task, input, label),
        }
    }
}
