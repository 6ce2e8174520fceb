//! The handle that everyone holds: it bounds what waits, has students brought into memory, and passes questions to the device's
//! thread.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::bounds::{Bound, Places};
use super::course::{Call, Coming, Course};
use super::device_thread::{DeviceThread, Limits};
use super::entry::Measure;
use super::following::Listener;
use super::inbox::{Inbox, Message};
use super::library::{InUse, Library};
use super::metrics::{EngineMetrics, Rejection};
use super::pace::Pace;
use super::question::{Question, Recipient, Request};
use super::shelf::ShelfLimits;
use super::{EngineSettings, InferenceError, ModelFiles};
use crate::device;

/// A handle to the one thread that owns the device. When the last handle is dropped, the thread ends.
#[derive(Debug, Clone)]
pub struct Engine {
    to_thread: Sender<Message>,
    thread: Arc<JoinHandle<()>>,
    library: Arc<Library>,
    requests: Arc<Bound>,
    tokens: Arc<Bound>,
    pace: Arc<Pace>,
    /// None: as long as it takes.
    max_queue_time: Option<Duration>,
    metrics: EngineMetrics,
}

impl Engine {
    /// Starts the device's thread. Refuses a device that is not there, and an arithmetic that it has not.
    pub fn start(settings: EngineSettings) -> Result<Self, InferenceError> {
        let device = device::parse(&settings.device)?;
        device::check_precision(settings.precision, device)?;
        let arithmetic = (device, device::kind_for(settings.precision.products(), device));
        let limits = Limits {
            threads: i32::try_from(settings.threads.max(1)).unwrap_or(i32::MAX),
            max_batch: settings.max_batch.max(1),
        };
        let (to_thread, messages) = channel();
        let metrics = EngineMetrics::new();
        let shelf = ShelfLimits { bytes: settings.max_model_bytes, count: settings.max_models.max(1) };
        let library = Library::new((device, settings.precision), shelf, to_thread.clone(), metrics.clone());
        let thread_library = Arc::downgrade(&library);
        let thread = thread::Builder::new()
            .name("inference".to_owned())
            .spawn(move || DeviceThread::new(limits, Inbox::new(arithmetic, messages, thread_library)).work())
            .map_err(|error| InferenceError::Start(error.to_string()))?;
        Ok(Self {
            to_thread,
            thread: Arc::new(thread),
            library,
            requests: Arc::new(Bound::new(settings.max_waiting)),
            tokens: Arc::new(Bound::new(settings.max_waiting_tokens)),
            pace: Arc::new(Pace::new()),
            max_queue_time: Some(settings.max_queue_time),
            metrics,
        })
    }

    /// Sends questions on their way with the listeners of their numbers, once their student is in memory. Their places in the queue
    /// are those of another call, `within` which they are asked, or taken at once.
    pub(super) async fn send(
        &self,
        model: &ModelFiles,
        requests: Vec<impl Into<Request>>,
        within: Option<&Places>,
        mut listener: impl FnMut(usize) -> Listener,
    ) -> Result<Places, InferenceError> {
        let requests: Vec<Request> = requests.into_iter().map(Into::into).collect();
        let at = Instant::now();
        let coming = Coming { at, until: self.max_queue_time.map(|most| at + most), is_within: within.is_some() };
        let (places, measure) = match within {
            Some(places) => (places.clone(), self.library.measure(model)?),
            None => self.take_places(model, &requests)?,
        };
        let opened = self.library.open(model, measure);
        let student = self.in_time(opened, coming.until, requests.len()).await?;
        let call = Call::new(student, places.clone(), &self.pace, coming);
        let question = |(number, request)| Question {
            request,
            recipient: Recipient { listener: listener(number), course: Course::new(&call) },
        };
        let questions = requests.into_iter().enumerate().map(question).collect();
        self.to_thread.send(Message::Answer(questions)).map_err(|_| InferenceError::Stopped)?;
        Ok(places)
    }

    /// Places for a call's inputs and for their tokens, before its student is read: nobody waits for a refusal. With them what the
    /// student takes and reads, by which its tokens are counted.
    fn take_places(&self, model: &ModelFiles, requests: &[Request]) -> Result<(Places, Measure), InferenceError> {
        let refused = |why| {
            self.metrics.rejected(why, requests.len() as u64);
            self.pace.overloaded(self.requests.taken())
        };
        if self.requests.taken() == 0 {
            self.pace.restart();
        }
        let inputs = self.requests.take(requests.len()).ok_or_else(|| refused(Rejection::Requests))?;
        let measure = self.library.measure(model)?;
        let tokens = requests.iter().map(|request| request.most_tokens(measure)).sum();
        let tokens = self.tokens.take(tokens).ok_or_else(|| refused(Rejection::Tokens))?;
        Ok((Places::new([inputs, tokens]), measure))
    }

    /// What comes of it in time, for so many inputs.
    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, InferenceError>>,
        until: Option<Instant>,
        inputs: usize,
    ) -> Result<T, InferenceError> {
        let Some(until) = until else { return work.await };
        tokio::time::timeout_at(until.into(), work).await.unwrap_or_else(|_| {
            self.metrics.rejected(Rejection::QueueTime, inputs as u64);
            Err(InferenceError::Expired)
        })
    }

    /// The same engine for one who has time: its questions wait as long as it takes.
    #[must_use]
    pub fn patient(&self) -> Self {
        Self { max_queue_time: None, ..self.clone() }
    }

    /// Brings a model into memory, where its first question then finds it. One that is there stays.
    pub async fn load(&self, model: &ModelFiles) -> Result<(), InferenceError> {
        self.open(model).await.map(drop)
    }

    async fn open(&self, model: &ModelFiles) -> Result<InUse, InferenceError> {
        let measure = self.library.measure(model)?;
        self.library.open(model, measure).await
    }

    /// Brings models into memory and pins exactly them: they make no room for others. What was pinned before goes on answering
    /// until they are there, if there is room for both. What came of each.
    pub async fn keep(&self, models: &[ModelFiles]) -> Vec<Result<(), InferenceError>> {
        let keys: Vec<&str> = models.iter().map(|model| model.key.as_str()).collect();
        let mut outcomes = Vec::with_capacity(models.len());
        for model in models {
            let mut opened = self.open(model).await;
            if matches!(opened, Err(InferenceError::ModelTooLarge { .. })) {
                self.library.unpin_all_but(&keys);
                opened = self.open(model).await;
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

    /// Whether the device's thread has ended, however it came to that: nothing is answered any more.
    pub fn is_stopped(&self) -> bool {
        self.thread.is_finished()
    }

    /// Puts a model away whose files are gone, once what it was asked is answered.
    pub fn forget(&self, key: &str) {
        self.library.forget(key);
    }

    /// Inputs of calls whose answers have not all been handed over.
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
