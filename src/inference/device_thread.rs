//! The thread that owns the device: it chooses which student answers next, and with it whose questions.

use super::inbox::{Inbox, ThreadEnds};
use super::labels::LabelSets;
use super::serving::Serving;

/// How much the thread takes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Threads that it computes with.
    pub threads: i32,
    /// Rows that it computes at once.
    pub max_batch: usize,
}

/// The thread's state.
pub(super) struct DeviceThread {
    limits: Limits,
    inbox: Inbox,
    label_sets: LabelSets,
}

impl DeviceThread {
    /// One that has done nothing yet.
    pub fn new(limits: Limits, inbox: Inbox) -> Self {
        Self { limits, inbox, label_sets: LabelSets::default() }
    }

    /// Answers until it is stopped. Gradients are off for the whole thread.
    pub fn work(mut self) {
        tch::set_num_threads(self.limits.threads);
        let _no_gradients = tch::no_grad_guard();
        while self.step().is_ok() {}
    }

    /// Waits for something to do and does one model's share of it. Whoever waits longest chooses the model.
    fn step(&mut self) -> Result<(), ThreadEnds> {
        self.inbox.wait()?;
        let Some((model, student)) = self.inbox.next() else { return Ok(()) };
        let Limits { threads, max_batch } = self.limits;
        student.model.use_threads(threads);
        Serving::new(&student, &model, &mut self.label_sets, max_batch).work(&mut self.inbox)
    }
}
