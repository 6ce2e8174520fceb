//! The teacher's answer to one example as a line of JSON: of the files that an annotation leaves and of the stream of its
//! answers. A line of a valid answer is a training row.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Annotation, AnnotationStatus, RationaleFault, Split};

/// An example with what became of the teacher's answer to it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AnnotationLine {
    /// The example's id.
    id: String,
    /// The example's input.
    input: String,
    /// Ground truth, where the file has it.
    label: Option<String>,
    /// The label of most samples.
    teacher_label: Option<String>,
    /// The first rationale that is kept.
    rationale: Option<String>,
    /// Further ones; left out where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rationales: Vec<String>,
    /// Share of all samples that gave the label, 0..1; only of valid answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<f64>,
    /// How many samples it was asked for.
    samples: i32,
    /// Whether the label rests on an answer that could be read only after a repair.
    repaired: bool,
    /// Whether the rationale was written by a teacher that had been shown the right label.
    rationalized: bool,
    /// What is wrong with the rationale, as far as that is seen in it alone and without ground truth: empty where that is
    /// nothing, and never `duplicate`, which only a report on the whole job can tell. Left out where there is no rationale,
    /// or where it was settled before this was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    rationale_faults: Option<Vec<RationaleFault>>,
    /// What became of the answer.
    status: AnnotationStatus,
    /// What the example may be used for; left out where it is anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<Split>,
    /// What came and why it is not valid; left out where it is.
    #[serde(flatten)]
    rejection: Option<Rejection>,
}

/// What a line has of an answer that is not valid.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Rejection {
    /// Why it is not valid.
    #[schema(example = "label \"maybe\" is not one of: refund, exchange, reject")]
    reason: Option<String>,
    /// The teacher's text as it came; null where none did.
    #[schema(example = "It depends. So the answer is maybe.")]
    raw_output: Option<String>,
}

impl AnnotationLine {
    /// The line of an annotation.
    pub fn new(annotation: Annotation) -> Self {
        let valid = annotation.status == AnnotationStatus::Valid;
        let rejection = Rejection { reason: annotation.reason, raw_output: annotation.raw_output };
        Self {
            id: annotation.example_id,
            input: annotation.input,
            label: annotation.label,
            teacher_label: annotation.teacher_label,
            rationale: annotation.rationale,
            rationales: annotation.more_rationales,
            agreement: annotation.agreement,
            samples: annotation.samples,
            repaired: annotation.repaired,
            rationalized: annotation.rationalized,
            rationale_faults: annotation.rationale_faults,
            status: annotation.status,
            split: annotation.split,
            rejection: (!valid).then_some(rejection),
        }
    }
}
