//! What is wrong with a setting, and where its value came from.

use std::{fmt, path::PathBuf};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This flag, without the dashes.
    Flag(String),
    /// This environment variable.
    Variable(String),
    /// This line of the configuration, from 1.
    File(PathBuf, usize),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Variable(variable) => write!(f, "variable {variable}"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its key, or `config` where the file itself is at fault.
    pub setting: String,
    /// What it was set to; none where that may be a secret.
    pub value: Option<String>,
    /// Where that came from; none where it came from nowhere.
    pub origin: Option<Origin>,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.setting)?;
        if let Some(value) = &self.value {
            write!(f, " = {value:?}")?;
        }
        if let Some(origin) = &self.origin {
            write!(f, " ({origin})")?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// Settings that cannot be used: all of them at once. Never empty.
#[derive(Debug, thiserror::Error)]
#[error("{}", listed(.0))]
pub struct Refusal(pub Vec<Fault>);

fn listed(faults: &[Fault]) -> String {
    let count = if faults.len() == 1 { "a setting".to_owned() } else { format!("{} settings", faults.len()) };
    faults
        .iter()
        .fold(format!("{count} cannot be used; nothing was started"), |text, fault| format!("{text}\n  {fault}"))
}
