//! How a student is fine-tuned, as it is shown: OpenAI's `method`, with this service's methods beside OpenAI's.

use serde::{Deserialize, Serialize};
use serde_json::Number;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::SchemaType, schema::Type},
};

use crate::domain::{DistillationSpec, Hyperparameters, LabelSource, Method};

/// How a student is fine-tuned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MethodKind {
    /// The label alone: `standard` of distillation jobs.
    Supervised,
    /// Label and rationale, two tasks told apart by a prefix.
    StepByStep,
    /// One target that holds the rationale and then the label.
    RationaleThenLabel,
}

impl MethodKind {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Supervised => "supervised",
            Self::StepByStep => "step_by_step",
            Self::RationaleThenLabel => "rationale_then_label",
        }
    }

    /// The distillation's method.
    pub fn method(self) -> Method {
        match self {
            Self::Supervised => Method::Standard,
            Self::StepByStep => Method::StepByStep,
            Self::RationaleThenLabel => Method::RationaleThenLabel,
        }
    }

    fn of(method: Method) -> Self {
        match method {
            Method::Standard => Self::Supervised,
            Method::StepByStep => Self::StepByStep,
            Method::RationaleThenLabel => Self::RationaleThenLabel,
        }
    }
}

/// How a job's student is fine-tuned: the member that `type` names, the others being null.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FineTuningMethod {
    /// Which method.
    #[serde(rename = "type")]
    kind: MethodKind,
    /// The label alone is learned.
    #[schema(required = true)]
    supervised: Option<MethodShown>,
    /// Label and rationale are learned.
    #[schema(required = true)]
    step_by_step: Option<MethodShown>,
    /// Rationale and label are learned as one text.
    #[schema(required = true)]
    rationale_then_label: Option<MethodShown>,
}

/// The options of a method. All others are in the job's `spec` at `/v1/jobs/{id}`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FineTuningMethodShown)]
#[serde(deny_unknown_fields)]
pub struct MethodShown {
    /// OpenAI's knobs.
    hyperparameters: FineTuningHyperparameters,
    /// Whose labels are learned.
    label_source: LabelSource,
    /// Weight of the label's loss; only `step_by_step` reads it.
    #[schema(example = 0.5)]
    alpha: f64,
}

/// The three knobs that OpenAI has.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FineTuningHyperparameters {
    /// Examples in one optimizer step.
    #[schema(example = 32)]
    batch_size: u32,
    /// The peak learning rate, as a multiple of 5e-5.
    learning_rate_multiplier: AutoOr,
    /// Passes over the training rows; `auto` where steps were asked for instead, or nothing.
    n_epochs: AutoOr,
}

/// A number, or `auto`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum AutoOr {
    /// Left to the service.
    Auto(Auto),
    /// A number.
    Number(Number),
}

/// The word for what is left to the service.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Auto {
    /// `auto`.
    Auto,
}

impl AutoOr {
    /// A whole number is written as one: clients expect whole epochs.
    fn of(value: Option<f64>) -> Self {
        let whole = |value: f64| (value.fract() == 0.0 && value.abs() < 1e15).then(|| Number::from(value as i64));
        let number = value.and_then(|value| whole(value).or_else(|| Number::from_f64(value)));
        number.map_or(Self::Auto(Auto::Auto), Self::Number)
    }
}

impl PartialSchema for AutoOr {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Number]))
            .description(Some("A number, or `auto`: left to the service."))
            .examples([serde_json::json!("auto")])
            .into()
    }
}

impl ToSchema for AutoOr {}

impl FineTuningHyperparameters {
    /// Of a distillation's.
    pub fn of(knobs: &Hyperparameters) -> Self {
        let rate = knobs.learning_rate.map(|rate| rate / Hyperparameters::PRETRAINED_RATE);
        Self {
            batch_size: knobs.batch_size,
            // The quotient of two rates that are no binary fractions: 2, not 2.0000000000000004.
            learning_rate_multiplier: AutoOr::of(rate.map(|rate| (rate * 1e9).round() / 1e9)),
            n_epochs: AutoOr::of(knobs.epochs.filter(|_| knobs.max_steps.is_none())),
        }
    }
}

impl FineTuningMethod {
    /// Of a distillation's spec.
    pub fn of(spec: &DistillationSpec) -> Self {
        let kind = MethodKind::of(spec.method);
        let shown = |of: MethodKind| {
            (of == kind).then(|| MethodShown {
                hyperparameters: FineTuningHyperparameters::of(&spec.hyperparameters),
                label_source: spec.label_source,
                alpha: spec.alpha,
            })
        };
        Self {
            kind,
            supervised: shown(MethodKind::Supervised),
            step_by_step: shown(MethodKind::StepByStep),
            rationale_then_label: shown(MethodKind::RationaleThenLabel),
        }
    }
}
