//! The thread that owns the device: it chooses which student answers next, and with it whose questions.

use std::sync::mpsc::Receiver;

use tch::Device;

use super::InferenceError;
use super::engine::{Message, Question, Reply};
use super::inbox::{Inbox, Stopped};
use super::labels::LabelSets;
use super::serving::Serving;
use super::shelf::Shelf;
use crate::device;
use crate::domain::Precision;

/// How the thread computes and how much it takes on.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub device: Device,
    pub precision: Precision,
    pub threads: i32,
    pub max_batch: usize,
    pub max_models: usize,
}

/// The thread's state.
pub(super) struct DeviceThread {
    limits: Limits,
    inbox: Inbox,
    shelf: Shelf,
    label_sets: LabelSets,
}

impl DeviceThread {
    pub fn new(limits: Limits, messages: Receiver<Message>) -> Self {
        let shelf = Shelf::new(limits.max_models);
        let inbox = Inbox::new(limits.clone(), messages);
        Self { inbox, limits, shelf, label_sets: LabelSets::default() }
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
        self.inbox.forgotten().iter().for_each(|key| self.shelf.forget(key));
        let Some(model) = self.inbox.oldest() else { return Ok(()) };
        let (precision, device) = (self.limits.precision, self.limits.device);
        let loaded = device::catch("loading the model", || self.shelf.get(&model, device, precision));
        match loaded.map_err(InferenceError::from).and_then(|inner| inner) {
            Ok(student) => {
                let label_sets = &mut self.label_sets;
                Serving::new(student, &model, label_sets, self.limits.max_batch).work(&mut self.inbox)
            }
            Err(error) => {
                tracing::warn!(model = model.key, directory = %model.directory.display(), %error, "model not loaded");
                let questions = self.inbox.questions_for(&model, usize::MAX);
                questions.into_iter().for_each(|question| reply(question, Err(error.clone())));
                Ok(())
            }
        }
    }
}

/// Passes an answer on, and the place with it.
pub(super) fn reply(question: Question, answer: Result<Reply, InferenceError>) {
    question.answer.end(answer, question.place);
}
