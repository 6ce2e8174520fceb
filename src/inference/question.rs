//! A question on its way through the engine, and what comes back.

use std::sync::Arc;

use super::course::Course;
use super::entry::Measure;
use super::following::Listener;
use super::{Completion, CompletionRequest, InferenceError, ModelFiles, Prediction, PredictionRequest, Prompt};

/// One request on its way.
#[derive(Debug)]
pub(super) struct Question {
    pub request: Request,
    pub recipient: Recipient,
}

/// Whom an answer is for, whatever the question has become meanwhile.
#[derive(Debug)]
pub(super) struct Recipient {
    pub listener: Listener,
    /// What is given back when it is dropped.
    pub course: Course,
}

/// What is asked of a model.
#[derive(Debug)]
pub(super) enum Request {
    Prediction(PredictionRequest),
    Completion(CompletionRequest),
}

/// What a model answers, of the request's kind.
#[derive(Debug)]
pub(super) enum Reply {
    Prediction(Prediction),
    Completion(Completion),
}

impl Question {
    /// The model that is asked.
    pub fn model(&self) -> &Arc<ModelFiles> {
        self.recipient.course.model()
    }
}

impl From<PredictionRequest> for Request {
    fn from(request: PredictionRequest) -> Self {
        Self::Prediction(request)
    }
}

impl From<CompletionRequest> for Request {
    fn from(request: CompletionRequest) -> Self {
        Self::Completion(request)
    }
}

impl Recipient {
    /// Whether nobody waits any more.
    pub fn is_gone(&self) -> bool {
        self.listener.is_closed()
    }

    /// Passes the answer on. Whoever waits for it may ask again at once, so that nothing is held for it any more when it comes.
    pub fn reply(self, answer: Result<Reply, InferenceError>) {
        let Self { listener, mut course } = self;
        course.end(&answer);
        drop(course);
        listener.end(answer);
    }
}

impl Request {
    /// Tokens that are read for it, at most: a token stands for a byte of text or more, and what is longer than the student reads
    /// is cut or refused.
    pub fn most_tokens(&self, measure: Measure) -> usize {
        let tokens = match self {
            Self::Prediction(request) => measure.prefix + request.input.len() + 1,
            Self::Completion(CompletionRequest { prompt: Prompt::Text(text), .. }) => text.len() + 1,
            Self::Completion(CompletionRequest { prompt: Prompt::Tokens(ids), .. }) => ids.len(),
        };
        tokens.min(measure.longest).max(1) * self.readings()
    }

    /// How often its input is read: for the label, for a rationale, and again with that rationale below it.
    fn readings(&self) -> usize {
        let Self::Prediction(PredictionRequest { rationale, consistency, .. }) = self else { return 1 };
        1 + usize::from(*rationale || *consistency) + usize::from(*consistency)
    }
}

impl Reply {
    /// The prediction that it is.
    pub fn prediction(self) -> Prediction {
        match self {
            Self::Prediction(prediction) => prediction,
            Self::Completion(_) => unreachable!("a reply is of its request's kind"),
        }
    }

    /// The completion that it is.
    pub fn completion(self) -> Completion {
        match self {
            Self::Completion(completion) => completion,
            Self::Prediction(_) => unreachable!("a reply is of its request's kind"),
        }
    }

    /// Tokens that were read for it and that were written.
    pub fn tokens(&self) -> (u64, u64) {
        match self {
            Self::Prediction(prediction) => (prediction.input_tokens, prediction.output_tokens),
            Self::Completion(completion) => (completion.prompt_tokens, completion.completion_tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_again_counts_again() {
        let tokens = |rationale, consistency, longest| {
            let input = "torn".to_owned();
            let request =
                Request::Prediction(PredictionRequest { input, rationale, consistency, ..Default::default() });
            request.most_tokens(Measure { longest, prefix: 9, ..Measure::default() })
        };
        assert_eq!([tokens(false, false, 50), tokens(true, false, 50), tokens(true, true, 50)], [14, 28, 42]);
        assert_eq!(tokens(false, true, 10), 30, "the rationale is written for it, whether it is shown or not");
    }
}
