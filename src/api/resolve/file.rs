//! Files that a job reads: there, readable, and with what the job needs in their lines.

use super::Refusals;
use crate::{
    api::{ProjectState, error::ApiError},
    domain::{File, FileId, FileRows, FileStatus, Split},
};

/// Lines that a refusal names.
const MAX_NAMED_LINES: usize = 10;

/// The file, unless it is missing or has bad lines, which is refused.
pub async fn usable(
    state: &ProjectState,
    refusals: &mut Refusals,
    pointer: &str,
    id: FileId,
) -> Result<Option<File>, ApiError> {
    let found = state.store.file(state.project, id).await?;
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
    state: &ProjectState,
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
