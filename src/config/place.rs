//! Where in a TOML file something stands, and what is wrong there in words that never quote the file's text, which may hold
//! a secret in the wrong place.

use std::{ops::Range, path::PathBuf};

use toml::de::Error;

use super::fault::{Fault, Origin};
use crate::domain::nearest;

/// A file while it is read.
pub(super) struct Place<'a> {
    pub(super) path: PathBuf,
    pub(super) text: &'a str,
}

impl Place<'_> {
    pub(super) fn line(&self, span: Range<usize>) -> Origin {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        Origin::File(self.path.clone(), 1 + before.iter().filter(|byte| **byte == b'\n').count())
    }

    pub(super) fn line_of(&self, error: &Error) -> Option<Origin> {
        error.span().map(|span| self.line(span))
    }

    pub(super) fn fault(&self, setting: &str, error: &Error) -> Fault {
        let problem = described(error.message());
        Fault { setting: setting.to_owned(), value: None, origin: self.line_of(error), problem }
    }
}

/// A deserializer's message without the values that it quotes, and with the nearest known name.
fn described(message: &str) -> String {
    let quoted = message.split('`').nth(1).unwrap_or_default();
    if message.starts_with("unknown field") {
        let listed = message.split_once("expected").map_or("", |(_, listed)| listed);
        return format!("unknown key {quoted:?}{}", nearest(quoted, listed.split('`').skip(1).step_by(2)));
    }
    match (message.find('"'), message.rfind("\", expected")) {
        (Some(start), Some(end)) if start < end => format!("{}{}", &message[..start].trim_end(), &message[end + 1..]),
        _ => message.to_owned(),
    }
}
