//! The thread that owns the device: it chooses which student answers next, and with it whose questions.

use std::sync::Weak;
use std::sync::mpsc::Receiver;

use tch::Device;

use super::InferenceError;
use super::engine::{Message, Question, Reply};
use super::inbox::{Inbox, Stopped};
use super::labels::LabelSets;
use super::library::Library;
use super::serving::Serving;
use crate::domain::Precision;

/// How the thread computes and how much it takes on.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub device: Device,
    pub precision: Precision,
    pub threads: i32,
    pub max_batch: usize,
}

/// The thread's state.
pub(super) struct DeviceThread {
    limits: Limits,
    inbox: Inbox,
    label_sets: LabelSets,
    library: Weak<Library>,
}

impl DeviceThread {
    pub fn new(limits: Limits, messages: Receiver<Message>, library: Weak<Library>) -> Self {
        let inbox = Inbox::new(limits.clone(), messages, Weak::clone(&library));
        Self { inbox, limits, label_sets: LabelSets::default(), library }
    }

    /// Answers until it is stopped. Gradients are off for the whole thread.
    pub fn work(mut self) {
        tch::set_num_threads(self.limits.threads);
        let _no_gradients = tch::no_grad_guard();
        while self.step().is_ok() {}
    }

    /// Waits for something to do and does one model's share of it. Whoever waits longest chooses the model.
    fn step(&mut self) -> Result<(), Stopped> {
        self.inbox.wait()?;
        let Some((model, student)) = self.inbox.next() else { return Ok(()) };
        student.model.use_threads(self.limits.threads);
        Serving::new(&student, &model, &mut self.label_sets, self.limits.max_batch).work(&mut self.inbox)
    }
}

/// However the thread ends, nobody waits in vain.
impl Drop for DeviceThread {
    fn drop(&mut self) {
        if let Some(library) = self.library.upgrade() {
            library.close();
        }
    }
}

/// Passes an answer on, and the place with it.
pub(super) fn reply(question: Question, answer: Result<Reply, InferenceError>) {
    let Question { mut course, answer: listener, .. } = question;
    course.end(&answer);
    listener.end(answer, course);
}
