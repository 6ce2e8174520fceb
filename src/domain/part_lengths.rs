//! How long the parts of a row are in a student's tokens, and how many of them were cut.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Tokens of each part of a row, the one that ends a text among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartLengths {
    /// An input behind its prefix.
    pub input: u32,
    /// A label.
    pub label: u32,
    /// A rationale.
    pub rationale: u32,
}

/// Texts of a training that were longer than their maximum and cut at their end: of the rows that are learned, and the
/// inputs of those that are asked about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Truncated {
    /// Inputs; one that is read behind two prefixes counts once.
    pub inputs: u64,
    /// Labels.
    pub labels: u64,
    /// Rationales.
    pub rationales: u64,
    /// Rows of which anything was cut.
    pub rows: u64,
}

/// What a training made of the texts that it was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LearnedTexts {
    /// The maximum lengths that were in force: those that were asked for, else those of the longest texts.
    pub max_lengths: PartLengths,
    /// What was cut at them.
    pub truncated: Truncated,
}
