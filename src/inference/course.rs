//! What a question holds while it is on its way: its places in the queue, its student in memory, and the times that are counted
//! when it ends. All of it is given back when it is dropped, however it ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::InferenceError;
use super::bounds::Places;
use super::library::InUse;
use super::metrics::ModelMetrics;
use super::pace::Pace;
use super::question::Reply;

/// What the questions of one request share.
#[derive(Debug)]
pub(super) struct Call {
    pace: Arc<Pace>,
    /// Until when its work must begin.
    until: Option<Instant>,
    has_begun: AtomicBool,
    /// It stays in memory until the last question has ended.
    student: InUse,
    _places: Places,
}

impl Call {
    /// A call of a student that is in memory.
    pub fn new(student: InUse, places: Places, pace: &Arc<Pace>, until: Option<Instant>) -> Arc<Self> {
        let (pace, has_begun) = (Arc::clone(pace), AtomicBool::new(false));
        Arc::new(Self { pace, until, has_begun, student, _places: places })
    }

    fn metrics(&self) -> &ModelMetrics {
        &self.student.lent.metrics
    }
}

/// A question's course.
#[derive(Debug)]
pub(super) struct Course {
    call: Arc<Call>,
    came: Instant,
    begun: Option<Instant>,
    first_token: Option<Instant>,
}

impl Course {
    /// It has come, and waits.
    pub fn new(call: &Arc<Call>) -> Self {
        call.metrics().waiting.inc();
        Self { call: Arc::clone(call), came: Instant::now(), begun: None, first_token: None }
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
            let metrics = self.call.metrics();
            metrics.waiting.dec();
            metrics.running.inc();
            metrics.queue_time.observe(self.came.elapsed().as_secs_f64());
        }
    }

    /// A token of it is there; in a search, of each of its beginnings.
    pub fn token(&mut self) {
        if self.first_token.is_none() {
            self.first_token_at(Instant::now());
        }
    }

    fn first_token_at(&mut self, now: Instant) -> Instant {
        let (came, metrics) = (self.came, self.call.metrics());
        *self.first_token.get_or_insert_with(|| {
            metrics.first_token.observe((now - came).as_secs_f64());
            now
        })
    }

    /// The decoder computed so many rows side by side, those of it among them.
    pub fn batch(&self, rows: usize) {
        #[expect(clippy::cast_precision_loss, reason = "rows of a batch are far below 2^52")]
        self.call.metrics().batch_size.observe(rows as f64);
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
        self.call.pace.answered();
        let now = Instant::now();
        let first = self.first_token_at(now);
        let (metrics, (read, written)) = (self.call.metrics(), reply.tokens());
        metrics.answered.inc();
        metrics.prompt_tokens.inc_by(read);
        metrics.generation_tokens.inc_by(written);
        metrics.latency.observe((now - self.came).as_secs_f64());
        if written > 1 {
            #[expect(clippy::cast_precision_loss, reason = "tokens of an answer are far below 2^52")]
            metrics.per_token.observe((now - first).as_secs_f64() / (written - 1) as f64);
        }
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        let metrics = self.call.metrics();
        if self.begun.is_some() { metrics.running.dec() } else { metrics.waiting.dec() }
    }
}
