//! The first lines of a file, for the lengths of what is in them.

use futures::StreamExt;

use super::Unknown;
use crate::{
    api::ProjectState,
    domain::{Example, File, FileId, LineError, Split},
    task::lines::LineReader,
};

const MAX_ROWS: usize = 500;
const MAX_BYTES: usize = 1 << 20;

/// The file's row, which is there because the job was resolved.
pub async fn file(state: &ProjectState, id: FileId) -> Result<File, Unknown> {
    let found = state.store.file(state.project, id).await?;
    found.ok_or_else(|| Unknown::Unreadable(format!("{id} is not there any more")))
}

/// The first examples of a file for these splits. Where none is among its first lines, whatever is there: the rows of one
/// file are alike.
pub async fn examples(state: &ProjectState, file: &File, splits: &[Split]) -> Result<Vec<Example>, Unknown> {
    let unreadable = |error: crate::artifacts::ArtifactError| Unknown::Unreadable(error.to_string());
    let mut bytes = state.artifacts.read(&file.artifact_key).await.map_err(unreadable)?;
    let (mut found, mut others, mut read, mut lines) = (Vec::new(), Vec::new(), 0, LineReader::new());
    let mut take = |row: Result<Example, LineError>| match row {
        Ok(example) if example.is_for(splits) => found.push(example),
        Ok(example) => others.push(example),
        Err(_) => {}
    };
    while let Some(chunk) = bytes.next().await
        && read < MAX_BYTES
    {
        let chunk = chunk.map_err(unreadable)?;
        read += chunk.len();
        lines.push(&chunk, &mut |_, row| take(row));
    }
    if read < MAX_BYTES {
        lines.finish(&mut |_, row| take(row));
    }
    let mut examples = if found.is_empty() { others } else { found };
    examples.truncate(MAX_ROWS);
    Ok(examples)
}

/// The mean length in characters of the texts that are there; `otherwise` where none is.
pub fn mean_characters<'a>(texts: impl Iterator<Item = Option<&'a str>>, otherwise: f64) -> f64 {
    let (mut count, mut sum) = (0.0, 0.0);
    for text in texts.flatten() {
        count += 1.0;
        sum += text.chars().count() as f64;
    }
    if count > 0.0 { sum / count } else { otherwise }
}
