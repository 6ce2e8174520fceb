//! The handle that everyone holds: it counts who waits and passes requests to the device's thread.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::device_thread::{DeviceThread, Limits};
use super::following::{Following, Listener};
use super::{Completion, CompletionRequest, InferenceError, ModelFiles, Prediction, PredictionRequest};
use crate::device;
use crate::domain::Precision;

/// How an engine computes and how much it takes on.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Processor threads of one tensor operation.
    pub threads: usize,
    /// Arithmetic.
    pub precision: Precision,
    /// Inputs that may wait or be answered at once; past it, `Overloaded`.
    pub max_waiting: usize,
    /// Inputs computed at once.
    pub max_batch: usize,
    /// Models kept in memory; past it, the least recently used one goes.
    pub max_models: usize,
}

/// A handle to the one thread that owns the device. When the last handle is dropped, the thread ends.
#[derive(Debug, Clone)]
pub struct Engine {
    to_thread: Sender<Message>,
    room: Arc<Semaphore>,
    max_waiting: u32,
}

/// What the device's thread is told.
#[derive(Debug)]
pub(super) enum Message {
    Answer(Question),
    WarmUp(oneshot::Sender<Result<(), InferenceError>>),
    Forget(String),
    Stop(oneshot::Sender<()>),
}

/// One request on its way. Its place in the queue is free again when it is dropped.
#[derive(Debug)]
pub(super) struct Question {
    pub model: Arc<ModelFiles>,
    pub request: Request,
    pub answer: Listener,
    pub place: Option<OwnedSemaphorePermit>,
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

impl Reply {
    fn prediction(self) -> Prediction {
        match self {
            Self::Prediction(prediction) => prediction,
            Self::Completion(_) => unreachable!("a reply is of its request's kind"),
        }
    }

    fn completion(self) -> Completion {
        match self {
            Self::Completion(completion) => completion,
            Self::Prediction(_) => unreachable!("a reply is of its request's kind"),
        }
    }
}

impl Engine {
    /// Starts the device's thread. Refuses a device that is not there.
    pub fn start(settings: EngineSettings) -> Result<Self, InferenceError> {
        let device = device::parse(&settings.device)?;
        let limits = Limits {
            device,
            precision: settings.precision,
            threads: i32::try_from(settings.threads.max(1)).unwrap_or(i32::MAX),
            max_batch: settings.max_batch.max(1),
            max_models: settings.max_models.max(1),
        };
        let (to_thread, messages) = channel();
        thread::Builder::new()
            .name("inference".to_owned())
            .spawn(move || DeviceThread::new(limits, messages).work())
            .map_err(|error| InferenceError::Start(error.to_string()))?;
        let max_waiting = u32::try_from(settings.max_waiting.max(1)).unwrap_or(u32::MAX);
        let room = usize::try_from(max_waiting).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Ok(Self { to_thread, room: Arc::new(Semaphore::new(room)), max_waiting })
    }

    /// One answer a request, in their order; `Overloaded` at once where there is no room for all of them. More requests
    /// than the engine holds at all are taken when it is idle. A model that cannot be used fails the whole call. Dropping
    /// the future takes back what has not begun.
    pub async fn predict(
        &self,
        model: &ModelFiles,
        requests: Vec<PredictionRequest>,
    ) -> Result<Vec<Result<Prediction, InferenceError>>, InferenceError> {
        let requests = requests.into_iter().map(Request::Prediction);
        let replies = self.ask(model, requests.collect()).await?;
        Ok(replies.into_iter().map(|reply| reply.map(Reply::prediction)).collect())
    }

    /// One completion a prompt, in their order; the rest is as in [`predict`](Self::predict).
    pub async fn complete(
        &self,
        model: &ModelFiles,
        requests: Vec<CompletionRequest>,
    ) -> Result<Vec<Result<Completion, InferenceError>>, InferenceError> {
        let requests = requests.into_iter().map(Request::Completion);
        let replies = self.ask(model, requests.collect()).await?;
        Ok(replies.into_iter().map(|reply| reply.map(Reply::completion)).collect())
    }

    /// The same predictions, followed while they are written. A place in the queue is free when the end of its answer has been
    /// heard, or when it is found between two steps that nobody listens any more.
    pub fn follow_predictions(
        &self,
        model: &ModelFiles,
        requests: Vec<PredictionRequest>,
    ) -> Result<Following<Prediction>, InferenceError> {
        let (following, listener) = Following::new(requests.len(), Reply::prediction);
        self.send(model, requests.into_iter().map(Request::Prediction).collect(), listener)?;
        Ok(following)
    }

    /// The same completions, followed like [predictions](Self::follow_predictions).
    pub fn follow_completions(
        &self,
        model: &ModelFiles,
        requests: Vec<CompletionRequest>,
    ) -> Result<Following<Completion>, InferenceError> {
        let (following, listener) = Following::new(requests.len(), Reply::completion);
        self.send(model, requests.into_iter().map(Request::Completion).collect(), listener)?;
        Ok(following)
    }

    async fn ask(
        &self,
        model: &ModelFiles,
        requests: Vec<Request>,
    ) -> Result<Vec<Result<Reply, InferenceError>>, InferenceError> {
        let mut receivers = Vec::with_capacity(requests.len());
        let listener = |_| {
            let (answer, receiver) = oneshot::channel();
            receivers.push(receiver);
            Listener::Once(answer)
        };
        self.send(model, requests, listener)?;
        let mut answers = Vec::with_capacity(receivers.len());
        for receiver in receivers {
            match receiver.await.unwrap_or(Err(InferenceError::Stopped)) {
                Err(error @ (InferenceError::ModelBroken { .. } | InferenceError::Stopped)) => return Err(error),
                answer => answers.push(answer),
            }
        }
        Ok(answers)
    }

    /// Takes a place for each request, and passes them on with the listeners of their numbers.
    fn send(
        &self,
        model: &ModelFiles,
        requests: Vec<Request>,
        mut listener: impl FnMut(usize) -> Listener,
    ) -> Result<(), InferenceError> {
        let wanted = u32::try_from(requests.len()).unwrap_or(u32::MAX).min(self.max_waiting);
        let mut places =
            Arc::clone(&self.room).try_acquire_many_owned(wanted).map_err(|_| InferenceError::Overloaded)?;
        let model = Arc::new(model.clone());
        for (number, request) in requests.into_iter().enumerate() {
            let (model, answer) = (Arc::clone(&model), listener(number));
            let question = Question { model, request, answer, place: places.split(1) };
            self.to_thread.send(Message::Answer(question)).map_err(|_| InferenceError::Stopped)?;
        }
        Ok(())
    }

    /// A real forward pass of a small random T5 on the device, behind whatever is running now: proof that the engine
    /// answers.
    pub async fn warm_up(&self) -> Result<(), InferenceError> {
        let (answer, receiver) = oneshot::channel();
        self.to_thread.send(Message::WarmUp(answer)).map_err(|_| InferenceError::Stopped)?;
        receiver.await.unwrap_or(Err(InferenceError::Stopped))
    }

    /// Puts a model away whose files are gone. A question that still waits for it has no answer then.
    pub fn forget(&self, key: &str) {
        // A thread that has ended holds nothing.
        let _ = self.to_thread.send(Message::Forget(key.to_owned()));
    }

    /// Inputs that wait or are being answered.
    pub fn waiting(&self) -> usize {
        let room = usize::try_from(self.max_waiting).unwrap_or(usize::MAX);
        room.saturating_sub(self.room.available_permits())
    }

    /// Ends the thread after the batch that is running, and waits for that: a process that exits while libtorch computes
    /// may crash. Whoever waits for an answer is told `Stopped`.
    pub async fn stop(&self) {
        let (told, ended) = oneshot::channel();
        if self.to_thread.send(Message::Stop(told)).is_ok() {
            // An error means that the thread had ended already.
            let _ = ended.await;
        }
    }
}
