//! The handle that everyone holds: it bounds what waits, has students brought into memory, and passes questions to the device's
//! thread.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::bounds::{Bound, Pace};
use super::course::{Call, Course};
use super::device_thread::{DeviceThread, Limits};
use super::following::{Following, Listener};
use super::library::{InUse, Library};
use super::metrics::{EngineMetrics, Rejection};
use super::place::Reads;
use super::shelf::ShelfLimits;
use super::{
    Completion, CompletionRequest, EngineSettings, InferenceError, ModelFiles, Prediction, PredictionRequest, Prompt,
};
use crate::device;
use crate::student::Student;

/// A handle to the one thread that owns the device. When the last handle is dropped, the thread ends.
#[derive(Debug, Clone)]
pub struct Engine {
    to_thread: Sender<Message>,
    library: Arc<Library>,
    requests: Arc<Bound>,
    tokens: Arc<Bound>,
    pace: Arc<Pace>,
    /// None: as long as it takes.
    max_queue_time: Option<Duration>,
    metrics: EngineMetrics,
}

/// What the device's thread is told.
pub(super) enum Message {
    /// The questions of one call, which are there together.
    Answer(Vec<Question>),
    WarmUp(oneshot::Sender<Result<(), InferenceError>>),
    /// A student by its model's key. Questions for it come after it.
    Shelve(String, Box<Student>),
    /// The student of this key goes. No question for it comes before it is shelved again.
    PutAway(String),
    Stop(oneshot::Sender<()>),
}

/// One request on its way.
#[derive(Debug)]
pub(super) struct Question {
    pub model: Arc<ModelFiles>,
    pub request: Request,
    pub answer: Listener,
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
        };
        let (to_thread, messages) = channel();
        let metrics = EngineMetrics::new();
        let shelf = ShelfLimits { bytes: settings.max_model_bytes, count: settings.max_models.max(1) };
        let library = Library::new((device, settings.precision), shelf, to_thread.clone(), metrics.clone());
        let thread_library = Arc::downgrade(&library);
        thread::Builder::new()
            .name("inference".to_owned())
            .spawn(move || DeviceThread::new(limits, messages, thread_library).work())
            .map_err(|error| InferenceError::Start(error.to_string()))?;
        Ok(Self {
            to_thread,
            library,
            requests: Arc::new(Bound::new(settings.max_waiting)),
            tokens: Arc::new(Bound::new(settings.max_waiting_tokens)),
            pace: Arc::new(Pace::new()),
            max_queue_time: Some(settings.max_queue_time),
            metrics,
        })
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
    pub async fn follow_predictions(
        &self,
        model: &ModelFiles,
        requests: Vec<PredictionRequest>,
    ) -> Result<Following<Prediction>, InferenceError> {
        let (following, listener) = Following::new(requests.len(), Reply::prediction);
        self.send(model, requests.into_iter().map(Request::Prediction).collect(), listener).await?;
        Ok(following)
    }

    /// The same completions, followed like [predictions](Self::follow_predictions).
    pub async fn follow_completions(
        &self,
        model: &ModelFiles,
        requests: Vec<CompletionRequest>,
    ) -> Result<Following<Completion>, InferenceError> {
        let (following, listener) = Following::new(requests.len(), Reply::completion);
        self.send(model, requests.into_iter().map(Request::Completion).collect(), listener).await?;
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
        self.send(model, requests, listener).await?;
        let mut answers = Vec::with_capacity(receivers.len());
        for receiver in receivers {
            match receiver.await.unwrap_or(Err(InferenceError::Stopped)) {
                Err(
                    error @ (InferenceError::ModelBroken { .. } | InferenceError::Stopped | InferenceError::Expired),
                ) => return Err(error),
                answer => answers.push(answer),
            }
        }
        Ok(answers)
    }

    /// Sends questions on their way, once there is a place for each and their student is in memory, with the listeners of their
    /// numbers.
    async fn send(
        &self,
        model: &ModelFiles,
        requests: Vec<Request>,
        mut listener: impl FnMut(usize) -> Listener,
    ) -> Result<(), InferenceError> {
        let refused = |why| {
            self.metrics.rejected(why, requests.len() as u64);
            self.pace.overloaded(self.requests.taken())
        };
        if self.requests.taken() == 0 {
            self.pace.restart();
        }
        let until = self.max_queue_time.map(|most| Instant::now() + most);
        let mut places = self.requests.take(requests.len()).ok_or_else(|| refused(Rejection::Requests))?;
        let model = Arc::new(model.clone());
        let student = self.open(&model, until).await?;
        let tokens: Vec<usize> = requests.iter().map(|request| request.most_tokens(student.reads)).collect();
        let mut token_places = self.tokens.take(tokens.iter().sum()).ok_or_else(|| refused(Rejection::Tokens))?;
        let call = Call::new(student, self.metrics.of(&model.name), &self.pace, until);
        let question = |(number, (request, tokens)): (usize, (Request, usize))| {
            let tokens = tokens.min(token_places.num_permits());
            let course = Course::new(&call, [places.split(1), token_places.split(tokens)]);
            Question { model: Arc::clone(&model), request, answer: listener(number), course }
        };
        let questions = requests.into_iter().zip(tokens).enumerate().map(question).collect();
        self.to_thread.send(Message::Answer(questions)).map_err(|_| InferenceError::Stopped)
    }

    /// The student in memory, if it comes in time.
    async fn open(&self, model: &Arc<ModelFiles>, until: Option<Instant>) -> Result<InUse, InferenceError> {
        let opened = self.library.open(model);
        let Some(until) = until else { return opened.await };
        tokio::time::timeout_at(until.into(), opened).await.unwrap_or(Err(InferenceError::Expired))
    }

    /// The same engine for one who has time: its questions wait as long as it takes.
    #[must_use]
    pub fn patient(&self) -> Self {
        Self { max_queue_time: None, ..self.clone() }
    }

    /// Brings a model into memory, where its first question then finds it. One that is there stays.
    pub async fn load(&self, model: &ModelFiles) -> Result<(), InferenceError> {
        self.library.open(&Arc::new(model.clone())).await.map(drop)
    }

    /// Brings models into memory and pins exactly them: they make no room for others. What was pinned before goes on answering
    /// until they are there, if there is room for both. What came of each.
    pub async fn keep(&self, models: &[ModelFiles]) -> Vec<Result<(), InferenceError>> {
        let keys: Vec<&str> = models.iter().map(|model| model.key.as_str()).collect();
        let mut outcomes = Vec::with_capacity(models.len());
        for model in models {
            let shared = Arc::new(model.clone());
            let mut opened = self.library.open(&shared).await;
            if matches!(opened, Err(InferenceError::ModelTooLarge { .. })) {
                self.library.unpin_all_but(&keys);
                opened = self.library.open(&shared).await;
            }
            outcomes.push(opened.map(|_in_use| self.library.pin(&model.key)));
        }
        self.library.unpin_all_but(&keys);
        outcomes
    }

    /// Whether a model is in memory and answers at once.
    pub fn has(&self, key: &str) -> bool {
        self.library.is_ready(key)
    }

    /// What it counts.
    pub fn metrics(&self) -> &EngineMetrics {
        &self.metrics
    }

    /// A real forward pass of a small random T5 on the device, behind whatever is running now: proof that the engine
    /// answers.
    pub async fn warm_up(&self) -> Result<(), InferenceError> {
        let (answer, receiver) = oneshot::channel();
        self.to_thread.send(Message::WarmUp(answer)).map_err(|_| InferenceError::Stopped)?;
        receiver.await.unwrap_or(Err(InferenceError::Stopped))
    }

    /// Puts a model away whose files are gone, once what it was asked is answered.
    pub fn forget(&self, key: &str) {
        self.library.forget(key);
    }

    /// Inputs that wait or are being answered.
    pub fn waiting(&self) -> usize {
        self.requests.taken()
    }

    /// Their tokens, counted as for the bound on them.
    pub fn waiting_tokens(&self) -> usize {
        self.tokens.taken()
    }

    /// Ends the thread after the batch that is running, and waits for that: a process that exits while libtorch computes
    /// may crash. Whoever waits for an answer is told `Stopped`.
    pub async fn stop(&self) {
        let (told, ended) = oneshot::channel();
        if self.to_thread.send(Message::Stop(told)).is_ok() {
            // An error means that the thread had ended already.
            let _ = ended.await;
        }
        self.library.stop().await;
    }
}

impl Request {
    /// Tokens that are read for it, at most: a token stands for a byte of text or more, and what is longer than the student reads
    /// is cut or refused.
    fn most_tokens(&self, reads: Reads) -> usize {
        let tokens = match self {
            Self::Prediction(request) => reads.prefix + request.input.len() + 1,
            Self::Completion(CompletionRequest { prompt: Prompt::Text(text), .. }) => text.len() + 1,
            Self::Completion(CompletionRequest { prompt: Prompt::Tokens(ids), .. }) => ids.len(),
        };
        let times = if let Self::Prediction(PredictionRequest { rationale: true, .. }) = self { 2 } else { 1 };
        tokens.min(reads.longest).max(1) * times
    }
}
