//! What a question holds while it is on its way: its places in the queue, its student in memory, and the times that are counted
//! when it ends. All of it is given back when it is dropped, however it ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::bounds::Places;
use super::library::InUse;
use super::metrics::ModelMetrics;
use super::pace::Pace;
use super::question::Reply;
use super::{InferenceError, ModelFiles};

/// What is known of a call when it comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coming {
    /// When it came: what is read into memory for it is a part of its time.
    pub at: Instant,
    /// Until when its work must begin.
    pub until: Option<Instant>,
    /// Whether it is asked for the sake of inputs that another call has brought, and that are counted there.
    pub is_within: bool,
}

/// What the questions of one request share.
#[derive(Debug)]
pub(super) struct Call {
    pace: Arc<Pace>,
    coming: Coming,
    has_begun: AtomicBool,
    /// It stays in memory until the last question has ended.
    student: InUse,
    _places: Places,
}

impl Call {
    /// A call of a student that is in memory.
    pub fn new(student: InUse, places: Places, pace: &Arc<Pace>, coming: Coming) -> Arc<Self> {
        let (pace, has_begun) = (Arc::clone(pace), AtomicBool::new(false));
        Arc::new(Self { pace, coming, has_begun, student, _places: places })
    }

    fn metrics(&self) -> &ModelMetrics {
        &self.student.lent.metrics
    }

    /// Those that are counted once an input.
    fn metrics_of_inputs(&self) -> Option<&ModelMetrics> {
        (!self.coming.is_within).then(|| self.metrics())
    }
}

/// A question's course.
#[derive(Debug)]
pub(super) struct Course {
    call: Arc<Call>,
    has_begun: bool,
    first_token: Option<Instant>,
}

impl Course {
    /// It has come, and waits.
    pub fn new(call: &Arc<Call>) -> Self {
        call.metrics().waiting.inc();
        Self { call: Arc::clone(call), has_begun: false, first_token: None }
    }

    /// The model that is asked.
    pub fn model(&self) -> &Arc<ModelFiles> {
        &self.call.student.lent.model
    }

    /// Whether its call has waited too long for its work to begin. A call that is being answered is not given up.
    pub fn is_late(&self, now: Instant) -> bool {
        self.call.coming.until.is_some_and(|until| now > until) && !self.call.has_begun.load(Ordering::Relaxed)
    }

    /// Its work begins.
    pub fn begin(&mut self) {
        if !self.has_begun {
            self.has_begun = true;
            self.call.has_begun.store(true, Ordering::Relaxed);
            self.call.metrics().waiting.dec();
            self.call.metrics().running.inc();
            if let Some(metrics) = self.call.metrics_of_inputs() {
                metrics.queue_time.observe(self.call.coming.at.elapsed().as_secs_f64());
            }
        }
    }

    /// A token of it is there; in a search, of each of its beginnings.
    pub fn token(&mut self) {
        if self.first_token.is_none() {
            self.first_token_at(Instant::now());
        }
    }

    fn first_token_at(&mut self, now: Instant) -> Instant {
        let call = &self.call;
        *self.first_token.get_or_insert_with(|| {
            if let Some(metrics) = call.metrics_of_inputs() {
                metrics.first_token.observe((now - call.coming.at).as_secs_f64());
            }
            now
        })
    }

    /// The decoder computed so many rows side by side, those of it among them.
    pub fn batch(&self, rows: usize) {
        #[expect(clippy::cast_precision_loss, reason = "rows of a batch are far below 2^52")]
        self.call.metrics().batch_size.observe(rows as f64);
    }

    /// The encoder read so many inputs side by side, that of it among them.
    pub fn read(&self, inputs: usize) {
        #[expect(clippy::cast_precision_loss, reason = "inputs of a batch are far below 2^52")]
        self.call.metrics().read_size.observe(inputs as f64);
    }

    /// It is answered.
    pub fn end(&mut self, answer: &Result<Reply, InferenceError>) {
        match answer {
            Ok(reply) => self.succeed(reply),
            Err(InferenceError::Expired) => self.call.metrics().expired.inc(),
            Err(_) => self.call.metrics().failed.inc(),
        }
    }

    fn succeed(&mut self, reply: &Reply) {
        let now = Instant::now();
        let first = self.first_token_at(now);
        let (metrics, (read, written)) = (self.call.metrics(), reply.tokens());
        metrics.prompt_tokens.inc_by(read);
        metrics.generation_tokens.inc_by(written);
        let Some(metrics) = self.call.metrics_of_inputs() else { return };
        self.call.pace.answered();
        metrics.answered.inc();
        metrics.latency.observe((now - self.call.coming.at).as_secs_f64());
        if written > 1 {
            #[expect(clippy::cast_precision_loss, reason = "tokens of an answer are far below 2^52")]
            metrics.per_token.observe((now - first).as_secs_f64() / (written - 1) as f64);
        }
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        let metrics = self.call.metrics();
        if self.has_begun { metrics.running.dec() } else { metrics.waiting.dec() }
    }
}
