//! A call to a teacher as the ledger has it: which one it is, and what became of it.

use std::str::FromStr;

use super::{UnknownName, unknown_name::by_name};

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallPurpose {
    /// The question itself.
    Answer,
    /// The question once more, with what was wrong with the answer.
    Repair,
    /// The question once more, with the right label: only its rationale is wanted.
    Rationalization,
}

impl CallPurpose {
    /// Every purpose.
    pub const ALL: [Self; 3] = [Self::Answer, Self::Repair, Self::Rationalization];

    /// The purpose's name in SQL and in idempotency keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Repair => "repair",
            Self::Rationalization => "rationalization",
        }
    }
}

impl FromStr for CallPurpose {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        by_name("call purpose", &Self::ALL, Self::as_str, name)
    }
}

/// Which call of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey {
    /// The example's place in its file, from 0.
    pub example_index: i64,
    /// Which of the example's samples, from 0.
    pub sample: i32,
    /// What for.
    pub purpose: CallPurpose,
    /// Which try at that, from 0.
    pub number: i32,
}

/// A call that is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCall {
    /// Which one.
    pub key: CallKey,
    /// How often its example was set aside before.
    pub round: i32,
    /// The digest of all that is asked.
    pub request_sha256: [u8; 32],
    /// Tokens that its prompt may have.
    pub input_tokens: i64,
    /// Tokens that its answer may have.
    pub output_tokens: i64,
}

/// A teacher's reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The teacher's text as it came.
    pub text: String,
    /// Why it ends: `stop`, `length`, …
    pub finish_reason: Option<String>,
    /// Tokens of the prompt that were paid for; 0 for a reused answer.
    pub input_tokens: i64,
    /// Tokens of the answer that were paid for; 0 for a reused answer.
    pub output_tokens: i64,
    /// From request to answer.
    pub latency_ms: i64,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutcome {
    /// It was answered.
    Answered(Reply),
    /// It was not done, and costs nothing.
    Failed(String),
    /// Whether it was done is not known.
    Unknown(String),
}

impl CallOutcome {
    /// The name of the state that it leaves the call in.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::Failed(_) => "failed",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// What the ledger has of an earlier call for an example that has no verdict yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastCall {
    /// Which one.
    pub key: CallKey,
    /// How often its example was set aside before it.
    pub round: i32,
    /// The digest of what was asked.
    pub request_sha256: [u8; 32],
    /// Its reply, where it has one that may still be taken.
    pub reply: Option<Reply>,
    /// Whether its example was to be asked anew after it.
    pub is_set_aside: bool,
}
