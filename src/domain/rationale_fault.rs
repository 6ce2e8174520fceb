//! What can be wrong with a rationale that can be seen without knowing the right answer.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{UnknownName, unknown_name::by_name};

/// What is wrong with a rationale, as far as that is seen without ground truth. `task::rationale_quality` finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RationaleFault {
    /// It comes to another label of the set than its own, or to another value.
    ContradictsLabel,
    /// It says what the input says, and nothing else.
    RestatesInput,
    /// It says the same thing over and over.
    RepeatsItself,
    /// It has no words but the label's, or names neither the choice nor any number that its label is made of.
    EmptyOfLabel,
    /// Another rationale before it says the same, but for case, space and punctuation.
    Duplicate,
}

impl RationaleFault {
    /// Every fault.
    pub const ALL: [Self; 5] =
        [Self::ContradictsLabel, Self::RestatesInput, Self::RepeatsItself, Self::EmptyOfLabel, Self::Duplicate];

    /// The fault's name in files, JSON and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ContradictsLabel => "contradicts_label",
            Self::RestatesInput => "restates_input",
            Self::RepeatsItself => "repeats_itself",
            Self::EmptyOfLabel => "empty_of_label",
            Self::Duplicate => "duplicate",
        }
    }
}

impl FromStr for RationaleFault {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        by_name("rationale fault", &Self::ALL, Self::as_str, name)
    }
}
