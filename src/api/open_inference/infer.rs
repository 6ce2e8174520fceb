//! Asking a student about a tensor of texts. A tensor has no place for the failure of one text: it fails the request.

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    asked::Asked,
    outputs::{Output, OutputTensor},
    parameters::NO_BINARY,
    request::InferenceRequest,
    texts::{self, Form, Texts},
};
use crate::{
    api::{ProjectState, asked_model::AskedModel, error::ApiError, extract::Json, held, resolve::Refusals},
    inference::{InferenceError, Places, Prediction, PredictionRequest},
    task::labels::listed_choices,
};

/// The header of a request whose body begins with JSON and goes on with bytes.
const BINARY_HEADER: &str = "inference-header-content-length";

/// A student's answers.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InferenceResponse {
    /// The model that answered, by its own name: what an alias points to.
    #[schema(example = "desk")]
    model_name: String,
    /// The fingerprint of its files.
    #[schema(example = "fp_0a1b2c3d4e")]
    model_version: String,
    /// The request's own id; not there where it had none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "42")]
    id: Option<String>,
    /// The outputs, in the order in which they were asked for.
    outputs: Vec<OutputTensor>,
}

/// A request in JSON alone.
#[derive(Debug)]
pub struct PlainRequest(pub InferenceRequest);

impl<S: Send + Sync> FromRequest<S> for PlainRequest {
    type Rejection = ApiError;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, ApiError> {
        refuse_bytes(request.headers())?;
        // Triton's client names no type.
        request.headers_mut().entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        Json::from_request(request, state).await.map(|Json(request)| Self(request))
    }
}

fn refuse_bytes(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.contains_key(BINARY_HEADER) {
        return Err(ApiError::field(format!("#/{BINARY_HEADER}"), "unsupported_parameter", NO_BINARY));
    }
    Ok(())
}

/// Asks the student, and answers with the tensors that are wanted.
pub async fn infer(state: &ProjectState, asked: &Asked, request: InferenceRequest) -> Result<Response, ApiError> {
    let mut refusals = Refusals::default();
    let wanted = Output::wanted(&mut refusals, &request);
    let InferenceRequest { id, inputs, .. } = request;
    let texts = texts::read(&mut refusals, inputs);
    refusals.finish()?;
    let Texts { texts, form } = texts.expect("what cannot be read was refused");
    let model = asked.open(state).await?;
    let requests = requests(&model, texts, wanted.contains(&Output::Rationale));
    let (answers, places) = answers(state, &model, requests, &form).await?;
    let outputs = wanted.into_iter().map(|output| output.tensor(&form.shape, &answers)).collect();
    let response = InferenceResponse { model_version: model.fingerprint(), model_name: model.name, id, outputs };
    Ok(held::until_sent(places, axum::Json(response)))
}

fn requests(model: &AskedModel, texts: Vec<String>, rationale: bool) -> Vec<PredictionRequest> {
    let request = |input: String| PredictionRequest {
        choices: listed_choices(&model.card.task, &input).map(Into::into),
        input,
        rationale,
        ..PredictionRequest::default()
    };
    texts.into_iter().map(request).collect()
}

async fn answers(
    state: &ProjectState,
    model: &AskedModel,
    requests: Vec<PredictionRequest>,
    form: &Form,
) -> Result<(Vec<Prediction>, Places), ApiError> {
    let answered = state.engine.predict_held(&model.files, requests).await;
    let (answers, places) = answered.map_err(|error| model.refused(error))?;
    let numbered = answers.into_iter().enumerate();
    let answers = numbered.map(|(index, answer)| answer.map_err(|error| refused(model, form.place(index), error)));
    Ok((answers.collect::<Result<_, _>>()?, places))
}

/// Why one text has no answer: the client's fault where the text is.
fn refused(model: &AskedModel, place: String, error: InferenceError) -> ApiError {
    match error {
        InferenceError::LabelTooLong { .. } | InferenceError::TooLong { .. } => {
            ApiError::field(place, "invalid_value", error.to_string())
        }
        other => model.refused(other),
    }
}
