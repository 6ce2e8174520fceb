//! A chat on its way from the request to its answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    super::{heading::Heading, input_refused},
    request::Asked,
};
use crate::{
    api::{
        ProjectState,
        asked_model::{AskedModel, label_refused},
        error::ApiError,
    },
    domain::Method,
    inference::{
        CompletionRequest, Following, InferenceError, Places, Prediction, PredictionRequest, Prompt, Sampling,
        ScoredToken, seed_of_answer, weighs_at_once,
    },
    task::labels::listed_choices,
};

/// What is asked of which model.
pub struct Chat {
    state: ProjectState,
    /// Who is asked.
    pub model: AskedModel,
    /// What is asked.
    pub asked: Asked,
    /// The labels to choose from that the request names.
    labels: Option<Arc<[String]>>,
    /// The choices that the input lists.
    choices: Option<Arc<[String]>>,
    /// Whether all answers are drawn from one.
    weighs_once: bool,
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
    pub async fn new(state: ProjectState, asked: Asked) -> Result<Self, ApiError> {
        let model = AskedModel::find(&state, &asked.model).await?;
        if asked.logprobs.is_some() && model.card.method == Method::RationaleThenLabel {
            let detail = "logprobs is not supported with this model, which writes its rationale and its label as one text; ask \
                          /v1/completions for the log-probabilities of both";
            return Err(ApiError::field("#/logprobs", "unsupported_parameter", detail));
        }
        let labels = asked.label_set.clone().map(Arc::from);
        let choices = listed_choices(&model.card.task, &asked.input).map(Arc::from);
        let mut chat = Self { state, model, asked, labels, choices, weighs_once: false };
        chat.weighs_once = weighs_at_once(&chat.model.card, &chat.request(0));
        Ok(chat)
    }

    /// The heading of its answer.
    pub fn heading(&self) -> Heading {
        Heading::new(&self.state, "chatcmpl", &self.model)
    }

    /// All answers, with their places in the engine's queue.
    pub async fn answers(&self) -> Result<(Vec<Answered>, Places), ApiError> {
        let answers = self.state.engine.predict_held(&self.model.files, self.requests()).await;
        let (answers, places) = answers.map_err(|error| self.model.refused(error))?;
        let mut drawn = Vec::with_capacity(self.asked.answers);
        for (question, answer) in answers.into_iter().enumerate() {
            drawn.extend(self.drawn(question, answer)?.1);
        }
        let answered = self.with_tokens(&places, drawn).await?;
        Ok((answered, places))
    }

    /// The answers while they are written.
    pub async fn follow(&self) -> Result<Following<Prediction>, ApiError> {
        let following = self.state.engine.follow_predictions(&self.model.files, self.requests());
        following.await.map_err(|error| self.model.refused(error))
    }

    fn requests(&self) -> Vec<PredictionRequest> {
        (0..self.questions()).map(|index| self.request(index)).collect()
    }

    fn request(&self, index: usize) -> PredictionRequest {
        PredictionRequest {
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
        }
    }

    /// How many questions the engine is asked for all answers.
    fn questions(&self) -> usize {
        if self.weighs_once { 1 } else { self.asked.answers }
    }

    /// How an answer is drawn: by a seed of its own.
    fn sampling(&self, index: usize) -> Option<Sampling> {
        let seeded = |sampling: Sampling| Sampling { seed: seed_of_answer(sampling.seed, index), ..sampling };
        self.asked.sampling.map(seeded)
    }

    /// The answers that the engine's answer to one question gives, each with its number. What is asked for them has the places of
    /// the call.
    pub async fn answered(
        &self,
        places: &Places,
        question: usize,
        answer: Result<Prediction, InferenceError>,
    ) -> Result<impl Iterator<Item = (usize, Answered)> + use<>, ApiError> {
        let (first, drawn) = self.drawn(question, answer)?;
        Ok((first..).zip(self.with_tokens(places, drawn).await?))
    }

    /// The same, their labels drawn where that is wanted.
    fn drawn(
        &self,
        question: usize,
        answer: Result<Prediction, InferenceError>,
    ) -> Result<(usize, Vec<Prediction>), ApiError> {
        let answer = answer.map_err(|error| self.refused(error))?;
        let numbers = if self.weighs_once { 0..self.asked.answers } else { question..question + 1 };
        let drawn = |number| {
            let mut answer = answer.clone();
            if let Some(sampling) = self.sampling(number) {
                answer.draw(&sampling);
            }
            answer
        };
        Ok((numbers.start, numbers.map(drawn).collect()))
    }

    /// Answers with their tokens, where these are wanted.
    async fn with_tokens(&self, places: &Places, drawn: Vec<Prediction>) -> Result<Vec<Answered>, ApiError> {
        let abstains = |answer: &Prediction| self.asked.included.abstains(answer.confidence);
        let is_chosen = |answer: &&Prediction| answer.label_probs.is_some() && !abstains(answer);
        let chosen: BTreeSet<&str> = drawn.iter().filter(is_chosen).map(|answer| answer.label.as_str()).collect();
        let of_labels = match self.asked.logprobs {
            Some(count) if !chosen.is_empty() => self.tokens_of(places, &chosen, count).await?,
            _ => BTreeMap::new(),
        };
        let answered = |mut answer: Prediction| {
            let abstained = abstains(&answer);
            let tokens = match self.asked.logprobs {
                Some(_) if abstained => None,
                Some(_) if answer.label_probs.is_none() => Some(std::mem::take(&mut answer.tokens)),
                Some(_) => of_labels.get(&answer.label).cloned(),
                None => None,
            };
            Answered { answer, abstained, tokens }
        };
        Ok(drawn.into_iter().map(answered).collect())
    }

    /// How likely the student finds the tokens of labels: it is made to write them, each once, as many side by side as the call has
    /// places.
    async fn tokens_of(
        &self,
        places: &Places,
        labels: &BTreeSet<&str>,
        count: usize,
    ) -> Result<BTreeMap<String, Vec<ScoredToken>>, ApiError> {
        let request = |label: &&str| CompletionRequest {
            prompt: Prompt::Text(format!("{}{}", self.model.card.label_prefix, self.asked.input)),
            dictated: Some((*label).to_owned()),
            logprobs: Some(count),
            ..CompletionRequest::default()
        };
        let (labels, mut of_labels): (Vec<&str>, _) = (labels.iter().copied().collect(), BTreeMap::new());
        for labels in labels.chunks(self.questions()) {
            let requests = labels.iter().map(request).collect();
            let written = self.state.engine.complete_within(places, &self.model.files, requests).await;
            for (label, written) in labels.iter().zip(written.map_err(|error| self.model.refused(error))?) {
                of_labels.insert((*label).to_owned(), written.map_err(|error| self.refused(error))?.tokens);
            }
        }
        Ok(of_labels)
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
