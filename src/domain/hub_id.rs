//! Models of the Hugging Face Hub by id.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A model of the Hub: `owner/name`, or `owner/name@revision` with a branch, a tag or a commit. No other model's name has a
/// slash, and no model's name on the Hub has an `@`, so that an id is told by its form. It becomes a part of paths and
/// addresses, so the form is strict: what is no id here is none on the Hub either.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(example = "google/flan-t5-base")]
pub struct HubId(String);

/// The revision of an id that names none.
const MAIN: &str = "main";

impl HubId {
    /// `owner/name`, without the revision.
    pub fn repository(&self) -> &str {
        self.parts().0
    }

    /// Whose it is.
    pub fn owner(&self) -> &str {
        self.repository().split_once('/').map_or("", |(owner, _)| owner)
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        self.repository().split_once('/').map_or("", |(_, name)| name)
    }

    /// A branch, a tag or a commit; `main` where the id names none.
    pub fn revision(&self) -> &str {
        self.parts().1
    }

    /// The revision, where it is a whole commit and so can never come to mean other files.
    pub fn commit(&self) -> Option<HubCommit> {
        self.revision().parse().ok()
    }

    /// The same model at this commit.
    pub fn at(&self, commit: &HubCommit) -> Self {
        Self(format!("{}@{commit}", self.repository()))
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once('@').unwrap_or((&self.0, MAIN))
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no id of the Hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an id of the Hub is owner/name or owner/name@revision, where owner and name have letters, digits, '-', '_' and '.', no \
     '--' and no '..', and neither begin nor end with '-' or '.'"
)]
pub struct NoHubId;

impl FromStr for HubId {
    type Err = NoHubId;

    fn from_str(text: &str) -> Result<Self, NoHubId> {
        let (repository, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let (owner, name) = repository.split_once('/').ok_or(NoHubId)?;
        if !is_plain(owner) || !is_plain(name) || name.ends_with(".git") || !is_revision(revision) {
            return Err(NoHubId);
        }
        Ok(Self(if revision == MAIN { repository } else { text }.to_owned()))
    }
}

/// The Hub's own rule for both parts of a model's name.
fn is_plain(part: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends = |part: &str| part.starts_with(['-', '.']) || part.ends_with(['-', '.']);
    (1..=96).contains(&part.len())
        && part.bytes().all(sign)
        && !ends(part)
        && !part.contains("--")
        && !part.contains("..")
}

/// A git reference: parts with plain signs, none of which walks up a folder.
fn is_revision(revision: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    let part = |part: &str| !part.is_empty() && !part.starts_with(['.', '-']) && part.bytes().all(sign);
    revision.len() <= 200 && revision.split('/').all(part) && !revision.contains("..")
}

impl TryFrom<String> for HubId {
    type Error = NoHubId;

    fn try_from(text: String) -> Result<Self, NoHubId> {
        text.parse()
    }
}

impl From<HubId> for String {
    fn from(id: HubId) -> Self {
        id.0
    }
}

/// A commit of the Hub: 40 hexadecimal digits. Its files never change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(example = "7bcac572ce56db69c1ea7c8af255c5d7c9672fc2")]
pub struct HubCommit(String);

/// A text that is no commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a commit has 40 hexadecimal digits")]
pub struct NoHubCommit;

impl HubCommit {
    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HubCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HubCommit {
    type Err = NoHubCommit;

    fn from_str(text: &str) -> Result<Self, NoHubCommit> {
        let digits = text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        digits.then(|| Self(text.to_owned())).ok_or(NoHubCommit)
    }
}

impl TryFrom<String> for HubCommit {
    type Error = NoHubCommit;

    fn try_from(text: String) -> Result<Self, NoHubCommit> {
        text.parse()
    }
}

impl From<HubCommit> for String {
    fn from(commit: HubCommit) -> Self {
        commit.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_told_by_its_form_and_main_is_not_said() {
        let parsed = |text: &str| text.parse::<HubId>().unwrap();
        let id = parsed("google/t5-v1_1-small");
        assert_eq!((id.owner(), id.name(), id.revision()), ("google", "t5-v1_1-small", "main"));
        assert_eq!(parsed("google/t5-v1_1-small@main").to_string(), "google/t5-v1_1-small");
        assert_eq!(parsed("a/b@refs/pr/1").to_string(), "a/b@refs/pr/1");
        let commit = "7bcac572ce56db69c1ea7c8af255c5d7c9672fc2";
        assert_eq!(parsed(&format!("a/b@{commit}")).commit().unwrap().as_str(), commit);
        assert_eq!((parsed("a/b").commit(), parsed("a/b@7bcac57").commit()), (None, None));
    }

    #[test]
    fn what_could_walk_through_folders_is_no_id() {
        for text in [
            "t5-small",
            "a/b/c",
            "/b",
            "a/",
            "../b",
            "a/..",
            "a/.b",
            "a/b-",
            "a--b/c",
            "a b/c",
            "a/b.git",
            "a/b@",
            "a/b@..",
            "a/b@x/../y",
            "a/b@/x",
            "a/b@x/",
            "a/b@-x",
            "a\\b/c",
            "a/b\0",
            "ä/b",
            "a/b@.lock",
        ] {
            assert_eq!(text.parse::<HubId>(), Err(NoHubId), "{text}");
        }
    }
}
