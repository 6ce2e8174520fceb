//! The tensors that a model can be asked for.

use serde::Serialize;
use serde_json::{Number, Value, json};
use utoipa::ToSchema;

use super::{
    parameters::flags,
    request::{InferenceRequest, WantedOutput},
};
use crate::{
    api::{extract::nearest, resolve::Refusals},
    inference::Prediction,
};

/// A tensor that a model can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The answer.
    Label,
    /// How sure the student is.
    Confidence,
    /// Each label's probability, as the text of a JSON object: labels may differ from text to text.
    LabelProbs,
    /// The reasoning.
    Rationale,
}

/// A tensor of answers, in the shape of the texts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputTensor {
    /// Which output.
    #[schema(example = "label")]
    name: String,
    /// The shape of the texts.
    #[schema(example = json!([2]))]
    shape: Vec<u64>,
    /// `BYTES` (texts) or `FP32`.
    #[schema(example = "BYTES")]
    datatype: String,
    /// The answers, flat.
    #[schema(example = json!(["refund", "reject"]))]
    data: Vec<Value>,
}

impl Output {
    /// Every output.
    pub const ALL: [Self; 4] = [Self::Label, Self::Confidence, Self::LabelProbs, Self::Rationale];
    /// What is answered where nothing is asked for: what costs nothing more.
    const USUAL: [Self; 2] = [Self::Label, Self::Confidence];

    /// The tensor's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Confidence => "confidence",
            Self::LabelProbs => "label_probs",
            Self::Rationale => "rationale",
        }
    }

    /// What its elements are.
    pub fn datatype(self) -> &'static str {
        if self == Self::Confidence { "FP32" } else { "BYTES" }
    }

    /// What a request wants, in its order.
    pub fn wanted(refusals: &mut Refusals, request: &InferenceRequest) -> Vec<Self> {
        let more = flags(
            refusals,
            "#/parameters",
            &[Self::Rationale.as_str(), Self::LabelProbs.as_str()],
            request.parameters.as_ref(),
        );
        let mut wanted = match request.outputs.as_deref() {
            None | Some([]) => Self::USUAL.to_vec(),
            Some(outputs) => named(refusals, outputs),
        };
        let more = Self::ALL.into_iter().filter(|output| more.contains(&output.as_str()));
        wanted.extend(more.filter(|output| !wanted.contains(output)).collect::<Vec<_>>());
        wanted
    }

    /// Its tensor.
    pub fn tensor(self, shape: &[u64], answers: &[Prediction]) -> OutputTensor {
        OutputTensor {
            name: self.as_str().to_owned(),
            shape: shape.to_vec(),
            datatype: self.datatype().to_owned(),
            data: answers.iter().map(|answer| self.element(answer)).collect(),
        }
    }

    /// One element. A tensor has no null: a student that gives no rationale gives an empty one, and without a label set no
    /// label has a probability.
    fn element(self, answer: &Prediction) -> Value {
        match self {
            Self::Label => json!(answer.label),
            Self::Confidence => Number::from_f64(answer.confidence).map_or(json!(0.0), Value::Number),
            Self::LabelProbs => json!(json!(answer.label_probs.clone().unwrap_or_default()).to_string()),
            Self::Rationale => json!(answer.rationale.clone().unwrap_or_default()),
        }
    }
}

/// The outputs that are asked for by name.
fn named(refusals: &mut Refusals, outputs: &[WantedOutput]) -> Vec<Output> {
    let mut wanted = Vec::new();
    for (index, asked) in outputs.iter().enumerate() {
        flags(refusals, &format!("#/outputs/{index}/parameters"), &[], asked.parameters.as_ref());
        let place = format!("#/outputs/{index}/name");
        match Output::ALL.into_iter().find(|output| output.as_str() == asked.name) {
            Some(output) if wanted.contains(&output) => {
                refusals.add(place, "invalid_value", format!("{:?} is asked for twice", asked.name));
            }
            Some(output) => wanted.push(output),
            None => {
                let known = Output::ALL.map(Output::as_str);
                let detail = format!("{:?} is no output{}", asked.name, nearest(&asked.name, known));
                refusals.add(place, "invalid_value", detail);
            }
        }
    }
    wanted
}
