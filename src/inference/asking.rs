//! How an engine is asked: for answers that come whole, or that are followed while they are written.

use tokio::sync::{mpsc::unbounded_channel, oneshot};

use super::bounds::Places;
use super::following::{Following, Listener};
use super::question::{Reply, Request};
use super::{Completion, CompletionRequest, Engine, InferenceError, ModelFiles, Prediction, PredictionRequest};

/// One answer a request, in their order.
type Answers<T> = Vec<Result<T, InferenceError>>;

impl Engine {
    /// One answer a request, in their order; `Overloaded` at once where there is no room for all of them. More requests
    /// than the engine holds at all are taken when it is idle. A model that cannot be used fails the whole call. Dropping
    /// the future takes back what has not begun.
    ///
    /// The places in the queue are free with the return. Whoever has the answers to pass on asks for
    /// [`predict_held`](Self::predict_held).
    pub async fn predict(
        &self,
        model: &ModelFiles,
        requests: Vec<PredictionRequest>,
    ) -> Result<Answers<Prediction>, InferenceError> {
        self.predict_held(model, requests).await.map(|(answers, _places)| answers)
    }

    /// The same with the call's places in the queue, to be held until the answers have reached whoever they are for.
    pub async fn predict_held(
        &self,
        model: &ModelFiles,
        requests: Vec<PredictionRequest>,
    ) -> Result<(Answers<Prediction>, Places), InferenceError> {
        self.ask(model, requests, None, Reply::prediction).await
    }

    /// One completion a prompt, in their order; the rest is as in [`predict`](Self::predict).
    pub async fn complete(
        &self,
        model: &ModelFiles,
        requests: Vec<CompletionRequest>,
    ) -> Result<Answers<Completion>, InferenceError> {
        self.complete_held(model, requests).await.map(|(answers, _places)| answers)
    }

    /// The same with the call's places in the queue, as in [`predict_held`](Self::predict_held).
    pub async fn complete_held(
        &self,
        model: &ModelFiles,
        requests: Vec<CompletionRequest>,
    ) -> Result<(Answers<Completion>, Places), InferenceError> {
        self.ask(model, requests, None, Reply::completion).await
    }

    /// The same within the places of a call that is not over, which asks no more at a time than it has places: it takes none of its
    /// own, so that a full engine does not refuse half of an answer.
    pub async fn complete_within(
        &self,
        places: &Places,
        model: &ModelFiles,
        requests: Vec<CompletionRequest>,
    ) -> Result<Answers<Completion>, InferenceError> {
        self.ask(model, requests, Some(places), Reply::completion).await.map(|(answers, _places)| answers)
    }

    /// The same predictions as [`predict`](Self::predict) gives, followed while they are written. The places in the queue are free
    /// when what follows them is dropped and nothing is written any more, which is found between two steps.
    pub async fn follow_predictions(
        &self,
        model: &ModelFiles,
        requests: Vec<PredictionRequest>,
    ) -> Result<Following<Prediction>, InferenceError> {
        self.follow(model, requests, Reply::prediction).await
    }

    /// The same completions, followed like [predictions](Self::follow_predictions).
    pub async fn follow_completions(
        &self,
        model: &ModelFiles,
        requests: Vec<CompletionRequest>,
    ) -> Result<Following<Completion>, InferenceError> {
        self.follow(model, requests, Reply::completion).await
    }

    async fn follow<T>(
        &self,
        model: &ModelFiles,
        requests: Vec<impl Into<Request>>,
        kind: fn(Reply) -> T,
    ) -> Result<Following<T>, InferenceError> {
        let (questions, (told, heard)) = (requests.len(), unbounded_channel());
        let places = self.send(model, requests, None, |number| Listener::Follower(number, told.clone())).await?;
        Ok(Following::new(heard, questions, kind, places))
    }

    async fn ask<T>(
        &self,
        model: &ModelFiles,
        requests: Vec<impl Into<Request>>,
        within: Option<&Places>,
        kind: fn(Reply) -> T,
    ) -> Result<(Answers<T>, Places), InferenceError> {
        let mut receivers = Vec::with_capacity(requests.len());
        let listener = |_| {
            let (answer, receiver) = oneshot::channel();
            receivers.push(receiver);
            Listener::Once(answer)
        };
        let places = self.send(model, requests, within, listener).await?;
        let mut answers = Vec::with_capacity(receivers.len());
        for receiver in receivers {
            match receiver.await.unwrap_or(Err(InferenceError::Stopped)) {
                Err(
                    error @ (InferenceError::ModelBroken { .. } | InferenceError::Stopped | InferenceError::Expired),
                ) => return Err(error),
                answer => answers.push(answer.map(kind)),
            }
        }
        Ok((answers, places))
    }
}
