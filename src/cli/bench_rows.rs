//! The rows that benchmarks ask about, in one order for all of them: what is measured in two ways is asked the same.

use std::path::Path;

use super::CommandError;

/// Different batches that are asked in turn, so that no run reads what the one before it has read.
const BATCHES_IN_TURN: usize = 4;

/// The inputs of a file, one a line of JSON: {"input": …}.
pub fn read(file: &Path) -> Result<Vec<String>, CommandError> {
    let path = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("{path}: {error}"))?;
    let input = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).map_err(|error| format!("{path}: {error}"))?;
        Ok(row["input"].as_str().ok_or_else(|| format!("{path}: a row without an input"))?.to_owned())
    };
    let inputs: Vec<String> = text.lines().map(input).collect::<Result<_, CommandError>>()?;
    if inputs.is_empty() { Err(format!("{path} has no rows").into()) } else { Ok(inputs) }
}

/// The inputs of a run that asks so many at once.
pub fn in_turn<T>(inputs: &[T], run: usize, batch: usize) -> impl Iterator<Item = &T> {
    inputs.iter().cycle().skip(run % BATCHES_IN_TURN * batch).take(batch)
}

/// A text as a student of rationales reads it.
pub fn prompt(text: &str) -> String {
    format!("explain: {text}")
}
