//! A chat on its way from the request to its answers.

use std::sync::Arc;

use super::{
    super::{heading::Heading, input_refused},
    request::Asked,
};
use crate::{
    api::{
        AppState,
        asked_model::{AskedModel, label_refused},
        error::ApiError,
    },
    domain::Method,
    inference::{
        CompletionRequest, Following, InferenceError, Places, Prediction, PredictionRequest, Prompt, Sampling,
        ScoredToken, seed_of_answer,
    },
    task::labels::listed_choices,
};

/// What is asked of which model.
pub struct Chat {
    state: AppState,
    /// Who is asked.
    pub model: AskedModel,
    /// What is asked.
    pub asked: Asked,
    /// The labels to choose from that the request names.
    labels: Option<Arc<[String]>>,
    /// The choices that the input lists.
    choices: Option<Arc<[String]>>,
}

/// One answer.
pub struct Answered {
    /// As the engine gave it, its label drawn where that is wanted.
    pub answer: Prediction,
    /// Whether its confidence was below the least that is wanted.
    pub abstained: bool,
    /// The label's tokens, where they are wanted and there is a label.
    pub tokens: Option<Vec<ScoredToken>>,
}

impl Answered {
    /// The label; none where the student abstains.
    pub fn label(&self) -> Option<&str> {
        (!self.abstained).then_some(self.answer.label.as_str())
    }
}

impl Chat {
    /// Finds the model and the labels to choose from.
    pub async fn new(state: AppState, asked: Asked) -> Result<Self, ApiError> {
        let model = AskedModel::find(&state, &asked.model).await?;
        if asked.logprobs.is_some() && model.card.method == Method::RationaleThenLabel {
            let detail = "logprobs is not supported with this model, which writes its rationale and its label as one text; ask \
                          /v1/completions for the log-probabilities of both";
            return Err(ApiError::field("#/logprobs", "unsupported_parameter", detail));
        }
        let labels = asked.label_set.clone().map(Arc::from);
        let choices = listed_choices(&model.card.task, &asked.input).map(Arc::from);
        Ok(Self { state, model, asked, labels, choices })
    }

    /// The heading of its answer.
    pub fn heading(&self) -> Heading {
        Heading::new(&self.state, "chatcmpl", &self.model)
    }

    /// All answers, with their places in the engine's queue.
    pub async fn answers(&self) -> Result<(Vec<Answered>, Places), ApiError> {
        let answers = self.state.engine.predict_held(&self.model.files, self.requests()).await;
        let (answers, places) = answers.map_err(|error| self.model.refused(error))?;
        let mut answered = Vec::with_capacity(answers.len());
        for (index, answer) in answers.into_iter().enumerate() {
            answered.push(self.answered(&places, index, answer).await?);
        }
        Ok((answered, places))
    }

    /// The answers while they are written.
    pub async fn follow(&self) -> Result<Following<Prediction>, ApiError> {
        let following = self.state.engine.follow_predictions(&self.model.files, self.requests());
        following.await.map_err(|error| self.model.refused(error))
    }

    fn requests(&self) -> Vec<PredictionRequest> {
        let request = |index| PredictionRequest {
            label_set: self.labels.clone(),
            choices: self.choices.clone(),
            input: self.asked.input.clone(),
            rationale: self.asked.included.rationale,
            consistency: self.asked.included.consistency,
            max_tokens: self.asked.max_tokens,
            whole_input: true,
            sampling: self.sampling(index),
            logprobs: self.asked.logprobs,
            ..PredictionRequest::default()
        };
        (0..self.asked.answers).map(request).collect()
    }

    /// How an answer is drawn: by a seed of its own.
    fn sampling(&self, index: usize) -> Option<Sampling> {
        let seeded = |sampling: Sampling| Sampling { seed: seed_of_answer(sampling.seed, index), ..sampling };
        self.asked.sampling.map(seeded)
    }

    /// What the engine gave, made an answer. What is asked for that has the places of the call.
    pub async fn answered(
        &self,
        places: &Places,
        index: usize,
        answer: Result<Prediction, InferenceError>,
    ) -> Result<Answered, ApiError> {
        let mut answer = answer.map_err(|error| self.refused(error))?;
        if let Some(sampling) = self.sampling(index) {
            answer.draw(&sampling);
        }
        let abstained = self.asked.included.abstain_below.is_some_and(|least| answer.confidence < least);
        let tokens = match self.asked.logprobs {
            _ if abstained => None,
            Some(count) if answer.label_probs.is_some() => Some(self.tokens_of(places, &answer.label, count).await?),
            Some(_) => Some(std::mem::take(&mut answer.tokens)),
            None => None,
        };
        Ok(Answered { answer, abstained, tokens })
    }

    /// How likely the student finds the tokens of a label: it is made to write it.
    async fn tokens_of(&self, places: &Places, label: &str, count: usize) -> Result<Vec<ScoredToken>, ApiError> {
        let request = CompletionRequest {
            prompt: Prompt::Text(format!("{}{}", self.model.card.label_prefix, self.asked.input)),
            dictated: Some(label.to_owned()),
            logprobs: Some(count),
            ..CompletionRequest::default()
        };
        let written = self.state.engine.complete_within(places, &self.model.files, vec![request]).await;
        let written = written.map_err(|error| self.model.refused(error))?.into_iter().next();
        let written = written.unwrap_or(Err(InferenceError::Stopped)).map_err(|error| self.refused(error))?;
        Ok(written.tokens)
    }

    /// Why there is no answer, at the pointer of what is at fault.
    pub fn refused(&self, error: InferenceError) -> ApiError {
        let place = |index| match self.asked.label_set {
            Some(_) => format!("#/label_set/{index}"),
            None => self.asked.pointer.clone(),
        };
        label_refused(&error, place).unwrap_or_else(|| input_refused(&self.model, &self.asked.pointer, error))
    }
}
