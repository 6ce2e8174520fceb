//! Which rationales a student learns. The defaults are the paper's: a row's first rationale as it stands, whatever its
//! teacher's label is worth.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::RationaleFault;

/// How many of a row's rationales are learned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RationalesPerExample {
    /// The first one.
    #[default]
    First,
    /// Each of them, as a target of its own (SCoTD, arXiv 2306.14050; Fine-tune-CoT, 2212.10071). A batch has as many more
    /// targets, and a step takes as much longer; the mean over its target tokens stays one.
    All,
    /// One in each epoch, in turns from one that the seed draws: the variety at the price of a single one.
    OnePerEpoch,
}

/// Which rationales are kept out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RationaleFilter {
    /// None.
    #[default]
    None,
    /// Those of rows whose `teacher_label` is not their `label`, by the task's scorer, or that lack one of the two: a teacher
    /// that came to a wrong answer argued for it (the rejection sampling of STaR, arXiv 2203.14465). The row's label is still
    /// learned by `step_by_step`.
    CorrectOnly,
}

/// A control: what is gained by rationales that say nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RationaleShuffle {
    /// They stay as they are.
    #[default]
    None,
    /// The words of each come in an order that the seed draws (Wadhwa et al., 2024, arXiv 2406.14511).
    Words,
    /// Each row gets those of another row.
    Rows,
}

/// Which rationales are learned, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({
    "per_example": "all", "filter": "correct_only", "leave_out": ["contradicts_label", "duplicate"], "shuffle": "none"
}))]
pub struct RationaleChoice {
    /// How many of a row's; default `first`.
    #[schema(default = "first", example = "all")]
    pub per_example: RationalesPerExample,
    /// Which are kept out; default `none`.
    #[schema(default = "none", example = "correct_only")]
    pub filter: RationaleFilter,
    /// Rationales with one of these faults are not learned, each for itself; default none. Its label is the one that is
    /// learned with it. Of `duplicate`s the first stays.
    #[schema(default = json!([]), example = json!(["contradicts_label", "duplicate"]))]
    pub leave_out: BTreeSet<RationaleFault>,
    /// Whether they are made meaningless, as a control; default `none`.
    #[schema(default = "none", example = "none")]
    pub shuffle: RationaleShuffle,
}
