//! What a question holds while it is on its way: its places in the queue, its student in memory, and the times that are counted
//! when it ends. All of it is given back when it is dropped, however it ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use super::InferenceError;
use super::bounds::Pace;
use super::engine::Reply;
use super::library::InUse;
use super::metrics::ModelMetrics;

/// What the questions of one request share.
#[derive(Debug)]
pub(super) struct Call {
    metrics: ModelMetrics,
    pace: Arc<Pace>,
    /// Until when its work must begin.
    until: Option<Instant>,
    has_begun: AtomicBool,
    /// It stays in memory until the last question has ended.
    _student: InUse,
}

impl Call {
    /// A call of a student that is in memory.
    pub fn new(student: InUse, metrics: ModelMetrics, pace: &Arc<Pace>, until: Option<Instant>) -> Arc<Self> {
        let (pace, has_begun) = (Arc::clone(pace), AtomicBool::new(false));
        Arc::new(Self { metrics, pace, until, has_begun, _student: student })
    }
}

/// A question's course.
#[derive(Debug)]
pub(super) struct Course {
    call: Arc<Call>,
    came: Instant,
    begun: Option<Instant>,
    first_token: Option<Instant>,
    /// Of inputs and of tokens.
    _places: [Option<OwnedSemaphorePermit>; 2],
}

impl Course {
    /// It has come, and waits.
    pub fn new(call: &Arc<Call>, places: [Option<OwnedSemaphorePermit>; 2]) -> Self {
        call.metrics.waiting.inc();
        Self { call: Arc::clone(call), came: Instant::now(), begun: None, first_token: None, _places: places }
    }

    /// Whether its call has waited too long for its work to begin. A call that is being answered is not given up.
    pub fn is_late(&self, now: Instant) -> bool {
        self.call.until.is_some_and(|until| now > until) && !self.call.has_begun.load(Ordering::Relaxed)
    }

    /// Its work begins.
    pub fn begin(&mut self) {
        if self.begun.is_none() {
            self.begun = Some(Instant::now());
            self.call.has_begun.store(true, Ordering::Relaxed);
            self.call.metrics.waiting.dec();
            self.call.metrics.running.inc();
            self.call.metrics.queue_time.observe(self.came.elapsed().as_secs_f64());
        }
    }

    /// A token of it is there.
    pub fn token(&mut self) {
        if self.first_token.is_none() {
            self.first_token = Some(Instant::now());
            self.call.metrics.first_token.observe(self.came.elapsed().as_secs_f64());
        }
    }

    /// A step of so many rows was computed, it among them.
    pub fn batch(&self, rows: usize) {
        #[expect(clippy::cast_precision_loss, reason = "rows of a batch are far below 2^52")]
        self.call.metrics.batch_size.observe(rows as f64);
    }

    /// It is answered.
    pub fn end(&mut self, answer: &Result<Reply, InferenceError>) {
        self.call.pace.answered();
        let reply = match answer {
            Ok(reply) => reply,
            Err(InferenceError::Expired) => return self.call.metrics.expired.inc(),
            Err(_) => return self.call.metrics.failed.inc(),
        };
        let (read, written) = match reply {
            Reply::Prediction(prediction) => (prediction.input_tokens, prediction.output_tokens),
            Reply::Completion(completion) => (completion.prompt_tokens, completion.completion_tokens),
        };
        self.token();
        self.call.metrics.answered.inc();
        self.call.metrics.prompt_tokens.inc_by(read);
        self.call.metrics.generation_tokens.inc_by(written);
        self.call.metrics.latency.observe(self.came.elapsed().as_secs_f64());
        if let Some(first) = self.first_token.filter(|_| written > 1) {
            #[expect(clippy::cast_precision_loss, reason = "tokens of an answer are far below 2^52")]
            self.call.metrics.per_token.observe(first.elapsed().as_secs_f64() / (written - 1) as f64);
        }
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        if self.begun.is_some() { self.call.metrics.running.dec() } else { self.call.metrics.waiting.dec() }
    }
}
