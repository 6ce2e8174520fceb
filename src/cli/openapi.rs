//! `stepwise openapi`: the document that `openapi.yaml` is a copy of.

use std::io::Write;

use super::CommandError;

/// Prints the document.
pub fn run() -> Result<(), CommandError> {
    std::io::stdout().write_all(crate::api::openapi_yaml().as_bytes())?;
    Ok(())
}
