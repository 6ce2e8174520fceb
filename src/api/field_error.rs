//! What is wrong with one field of a request.

/// One wrong field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// JSON pointer into the body (`#/training/0/file`); query parameters and headers stand as `#/name`.
    pub pointer: String,
    /// A stable name to branch on.
    pub code: &'static str,
    /// What is wrong and what would be right.
    pub detail: String,
    /// The line of the file that the field names, from 1.
    pub line: Option<u64>,
}

impl FieldError {
    /// An error of a field, without a line.
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, detail: detail.into(), line: None }
    }

    /// The field's name as OpenAI's `param` has it: `hyperparameters.batch_size`.
    pub fn param(&self) -> String {
        self.place().replace('/', ".")
    }

    /// The pointer without its head: `training/0/file`.
    pub fn place(&self) -> &str {
        self.pointer.trim_start_matches("#/")
    }
}

/// The pointer to a member of what is at `pointer`.
pub fn member(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}
