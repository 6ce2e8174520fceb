//! How often a student was right while it was trained.

use serde::{Deserialize, Serialize};

use super::Split;

/// The share of some rows that a student answered, in its own words, with the label that stood for right. Written into
/// `stepwise.json` beside the weights, so that a copied folder still knows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// What the rows were kept for.
    pub split: Split,
    /// The share, 0..1.
    pub accuracy: f64,
    /// How many rows there were.
    pub rows: u64,
    /// How many of them were scored by ground truth. The others were scored by the teacher's label: there the figure tells
    /// how far the student agrees with the teacher.
    pub by_ground_truth: u64,
}
