//! `POST /v1/predictions`: a student answers. One bad input costs its own answer, not the others'.

use std::{collections::BTreeMap, sync::Arc};

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ProjectState,
    asked_model::{AskedModel, label_refused},
    deadline::DeadlineHeader,
    error::ApiError,
    extract::Json,
    held,
    included::Included,
    list::ListObject,
    openapi::Ask,
    resolve::{self, Refusals},
};
use crate::{
    inference::{InferenceError, Prediction, PredictionRequest},
    task::labels::listed_choices,
};

/// Most inputs in one request: more belong into several, so that others get their turn.
pub const MAX_INPUTS: usize = 256;

/// Ask a student.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PredictionRequest)]
pub struct PredictionsRequest {
    /// A model's name or id, an alias, the id of a distillation job, or a Hub id that is in this machine's cache.
    model: String,
    /// The inputs, without any prefix.
    inputs: Vec<String>,
    /// `rationale`, `confidence`, `label_probs`, `consistency`; what is not asked for is null. For `consistency` a rationale is
    /// written, whether it is shown or not.
    include: Option<Vec<String>>,
    /// Labels to choose from, 2 to 1000 of 500 characters at most; default: the model's own task's.
    label_set: Option<Vec<String>>,
    /// Abstain (label null) where the confidence is below this, 0 to 1. It means what it says where the confidence is calibrated.
    abstain_below: Option<f64>,
}

/// A student's answers.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Predictions {
    /// Always `list`.
    object: ListObject,
    /// The model that answered, by its own name: what an alias points to.
    model: String,
    /// One answer an input, in the request's order.
    data: Vec<PredictionResource>,
    /// What it cost.
    usage: Usage,
}

/// One answer. Every key is always there.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = Prediction)]
#[serde(deny_unknown_fields)]
pub struct PredictionResource {
    /// The input's place in the request, from 0.
    index: usize,
    /// The answer; null on abstention or error.
    #[schema(required = true)]
    label: Option<String>,
    /// How sure the student is, 0 to 1.
    #[schema(required = true)]
    confidence: Option<f64>,
    /// Whether confidence and probabilities were fitted to how often the student is right on its validation rows. They are for the
    /// label set of its own task, in whatever order; never for another set or for words of its own. Null on error.
    #[schema(required = true)]
    calibrated: Option<bool>,
    /// Each label's probability, where there is a label set.
    #[schema(required = true)]
    label_probs: Option<BTreeMap<String, f64>>,
    /// The reasoning, as the student's second task; it did not cause the label.
    #[schema(required = true)]
    rationale: Option<String>,
    /// Whether the same label is scored best for the input with the rationale below it. The student never learned from such an
    /// input, so it is a hint alone. Null without a label set or a rationale, and where both are longer than the student reads.
    #[schema(required = true)]
    consistency: Option<bool>,
    /// Whether the confidence was below `abstain_below`.
    abstained: bool,
    /// Why this input has no answer.
    #[schema(required = true)]
    error: Option<PredictionError>,
}

/// Why one input has no answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PredictionError {
    /// A stable name to branch on.
    code: String,
    /// A sentence.
    message: String,
}

/// What a request cost.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Tokens read.
    input_tokens: u64,
    /// Tokens written.
    output_tokens: u64,
}

/// Ask a student for labels, with confidence and rationale where wanted.
#[utoipa::path(post, path = "/v1/predictions", tag = "models", request_body = PredictionsRequest,
    params(DeadlineHeader),
    responses((status = 200, description = "An answer for each input", body = Predictions), Ask))]
pub async fn create_prediction(
    state: ProjectState,
    Json(request): Json<PredictionsRequest>,
) -> Result<Response, ApiError> {
    let included = check(&request)?;
    let model = AskedModel::find(&state, &request.model).await?;
    // A fixed set of the model's own task is the engine's to find.
    let own_labels: Option<Arc<[String]>> = request.label_set.map(Arc::from);
    let asked = request.inputs.into_iter().map(|input| PredictionRequest {
        label_set: own_labels.clone(),
        choices: listed_choices(&model.card.task, &input).map(Arc::from),
        input,
        rationale: included.rationale,
        consistency: included.consistency,
        ..PredictionRequest::default()
    });
    let asked = asked.collect();
    let answered = state.engine.predict_held(&model.files, asked).await;
    let (answers, places) = answered.map_err(|error| model.refused(error))?;
    if let (Some(_), Some(Err(error))) = (&own_labels, answers.first())
        && let Some(refused) = label_refused(error, |index| format!("#/label_set/{index}"))
    {
        return Err(refused);
    }
    let mut usage = Usage::default();
    let answers = answers.into_iter().enumerate();
    let data = answers.map(|(index, answer)| PredictionResource::new(included, index, answer, &mut usage)).collect();
    let predictions = Predictions { object: ListObject::List, model: model.name, data, usage };
    Ok(held::until_sent(places, axum::Json(predictions)))
}

/// What is wanted beside the labels, or everything that is wrong.
fn check(request: &PredictionsRequest) -> Result<Included, ApiError> {
    let mut refusals = Refusals::default();
    refusals.require((1..=MAX_INPUTS).contains(&request.inputs.len()), "#/inputs", || {
        format!("{} inputs; send 1 to {MAX_INPUTS}", request.inputs.len())
    });
    for (index, input) in request.inputs.iter().enumerate() {
        refusals.require(!input.trim().is_empty(), &format!("#/inputs/{index}"), || "the input is empty".to_owned());
    }
    let included = Included::check(&mut refusals, request.include.as_deref(), request.abstain_below);
    if let Some(labels) = &request.label_set {
        resolve::check_labels(&mut refusals, "#/label_set", labels);
    }
    refusals.finish()?;
    Ok(included)
}

impl PredictionResource {
    /// An answer with what is wanted of it.
    fn new(included: Included, index: usize, answer: Result<Prediction, InferenceError>, usage: &mut Usage) -> Self {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let long = matches!(error, InferenceError::LabelTooLong { .. });
                let code = if long { "label_too_long" } else { "prediction_failed" };
                let error = PredictionError { code: code.to_owned(), message: error.to_string() };
                return Self { index, error: Some(error), ..Default::default() };
            }
        };
        usage.input_tokens += answer.input_tokens;
        usage.output_tokens += answer.output_tokens;
        let abstained = included.abstains(answer.confidence);
        Self {
            index,
            label: (!abstained).then_some(answer.label),
            confidence: included.confidence.then_some(answer.confidence),
            calibrated: Some(answer.calibrated),
            label_probs: answer.label_probs.filter(|_| included.label_probs),
            rationale: answer.rationale.filter(|_| included.rationale),
            consistency: answer.consistency,
            abstained,
            error: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_fails_costs_its_own_answer_and_says_why() {
        let included = Included::check(&mut Refusals::default(), None, Some(0.5));
        let failed = Err(InferenceError::TooLong { tokens: 600, most: 512 });
        let mut usage = Usage::default();
        let shown = PredictionResource::new(included, 7, failed, &mut usage);
        let error = shown.error.unwrap();
        assert_eq!((shown.index, shown.label, shown.abstained), (7, None, false));
        assert_eq!(error.code, "prediction_failed");
        assert!(error.message.contains("600 tokens"), "{}", error.message);
        assert_eq!((usage.input_tokens, usage.output_tokens), (0, 0));
    }
}
