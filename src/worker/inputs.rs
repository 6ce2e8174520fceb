//! Files of examples, streamed from the artifact store.

use std::path::Path;

use async_stream::try_stream;
use futures::{Stream, StreamExt};
use tokio::io::AsyncWriteExt;

use super::{AttemptError, Worker};
use crate::{
    domain::{Chunk, Example, File, FileId, FileStatus, JobError, LineError, ProjectId},
    task::lines::{LinePlace, LineReader},
    telemetry::chain,
};

/// The file's row; a job never begins on a file that is gone or broken.
pub async fn file(worker: &Worker, project: ProjectId, id: FileId) -> Result<File, AttemptError> {
    let file = worker.store.file(project, id).await?;
    let file = file.ok_or_else(|| AttemptError::fatal(JobError::new("file_missing", format!("{id} was deleted"))))?;
    if file.status == FileStatus::Error {
        let message = format!("{id} has {} bad lines", file.validation.rows - file.validation.valid_rows);
        return Err(AttemptError::fatal(JobError::new("invalid_file", message)));
    }
    Ok(file)
}

/// The file's examples in order, one chunk of bytes in memory at a time.
pub fn examples(worker: &Worker, file: &File) -> impl Stream<Item = Result<Example, AttemptError>> + Send + use<> {
    let (artifacts, key, id) = (worker.artifacts.clone(), file.artifact_key.clone(), file.id);
    try_stream! {
        let mut bytes = artifacts.read(&key).await?;
        let mut reader = LineReader::new();
        let mut lines = Vec::new();
        while let Some(chunk) = bytes.next().await {
            reader.push(&chunk?, &mut |_, line| lines.push(line));
            for line in lines.drain(..) {
                yield line.map_err(|error| changed(id, &error))?;
            }
        }
        reader.finish(&mut |_, line| lines.push(line));
        for line in lines {
            yield line.map_err(|error| changed(id, &error))?;
        }
    }
}

/// The examples of a chunk; no byte that lies before it is read.
pub async fn examples_of(worker: &Worker, file: &File, chunk: &Chunk) -> Result<Vec<Example>, AttemptError> {
    let [from, to] = [chunk.byte_offset, chunk.end_offset].map(|offset| u64::try_from(offset).unwrap_or_default());
    let mut bytes = worker.artifacts.read_range(&file.artifact_key, from..to).await?;
    let mut reader = LineReader::at(start_of(chunk));
    let mut lines = Vec::new();
    while let Some(piece) = bytes.next().await {
        reader.push(&piece?, &mut |_, line| lines.push(line));
    }
    reader.finish(&mut |_, line| lines.push(line));
    let count = usize::try_from(chunk.end_index - chunk.first_index).unwrap_or_default();
    lines.into_iter().take(count).map(|line| line.map_err(|error| changed(file.id, &error))).collect()
}

/// Where a chunk's first line is.
pub fn start_of(chunk: &Chunk) -> LinePlace {
    let [number, offset] = [chunk.line_number, chunk.byte_offset].map(|place| u64::try_from(place).unwrap_or_default());
    LinePlace { number, offset }
}

/// The upload checked every line, so this is a file that changed under us.
fn changed(id: FileId, error: &LineError) -> AttemptError {
    AttemptError::fatal(JobError::new("invalid_file", format!("{id} line {}: {}", error.line, error.message)))
}

/// Copies the file's bytes to a local path.
pub async fn download(worker: &Worker, file: &File, path: &Path) -> Result<(), AttemptError> {
    let mut bytes = worker.artifacts.read(&file.artifact_key).await?;
    let failed = |error: std::io::Error| scratch_failed(path, &error);
    let mut target = tokio::fs::File::create(path).await.map_err(failed)?;
    while let Some(chunk) = bytes.next().await {
        target.write_all(&chunk?).await.map_err(failed)?;
    }
    target.flush().await.map_err(failed)
}

/// A failure of the scratch folder: a full disk may have room again later.
pub fn scratch_failed(path: &Path, error: &std::io::Error) -> AttemptError {
    AttemptError::passing(JobError::new("scratch_failed", format!("{}: {}", path.display(), chain(error))))
}
