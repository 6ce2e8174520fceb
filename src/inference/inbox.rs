//! What the device's thread was told and has not done yet. Questions wait here in the order in which they came.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvError};

use tokio::sync::oneshot;

use super::device_thread::Limits;
use super::engine::{Message, Question};
use super::warm_up::warm_up;
use super::{InferenceError, ModelFiles};
use crate::device;

/// The thread has been told to stop, or nobody is left to tell it anything.
pub(super) struct Stopped;

impl From<RecvError> for Stopped {
    fn from(_: RecvError) -> Self {
        Self
    }
}

pub(super) struct Inbox {
    limits: Limits,
    messages: Receiver<Message>,
    waiting: VecDeque<Question>,
    forgotten: Vec<String>,
}

impl Inbox {
    pub fn new(limits: Limits, messages: Receiver<Message>) -> Self {
        Self { limits, messages, waiting: VecDeque::new(), forgotten: Vec::new() }
    }

    /// Takes what has come; where nothing waits, waits for it.
    pub fn wait(&mut self) -> Result<(), Stopped> {
        if self.waiting.is_empty() {
            let message = self.messages.recv()?;
            self.take(message)?;
        }
        self.look()
    }

    /// Takes what has come. Whoever has left waits no longer.
    pub fn look(&mut self) -> Result<(), Stopped> {
        while let Ok(message) = self.messages.try_recv() {
            self.take(message)?;
        }
        self.waiting.retain(|question| !question.answer.is_closed());
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<(), Stopped> {
        match message {
            Message::Answer(question) => self.waiting.push_back(question),
            Message::WarmUp(answer) => self.warm_up(answer),
            Message::Forget(key) => self.forgotten.push(key),
            Message::Stop(told) => {
                // Whoever stopped us may not wait for it.
                let _ = told.send(());
                return Err(Stopped);
            }
        }
        Ok(())
    }

    fn warm_up(&self, answer: oneshot::Sender<Result<(), InferenceError>>) {
        if answer.is_closed() {
            return;
        }
        let kind = device::kind_for(self.limits.precision, self.limits.device);
        let outcome = device::catch("the warm-up", || warm_up(self.limits.device, kind));
        // Whoever asked may have left meanwhile.
        let _ = answer.send(outcome.map_err(InferenceError::from).and_then(|inner| inner));
    }

    /// Models whose files are gone, since they were last asked for.
    pub fn forgotten(&mut self) -> Vec<String> {
        std::mem::take(&mut self.forgotten)
    }

    /// The model of whoever waits longest.
    pub fn oldest(&self) -> Option<Arc<ModelFiles>> {
        self.waiting.front().map(|question| Arc::clone(&question.model))
    }

    /// Whether somebody waits for another model.
    pub fn others_wait(&self, model: &ModelFiles) -> bool {
        self.waiting.iter().any(|question| *question.model != *model)
    }

    /// The oldest questions for a model, so many at most.
    pub fn questions_for(&mut self, model: &ModelFiles, most: usize) -> Vec<Question> {
        let mut questions = Vec::new();
        for question in std::mem::take(&mut self.waiting) {
            if questions.len() < most && *question.model == *model {
                questions.push(question);
            } else {
                self.waiting.push_back(question);
            }
        }
        questions
    }
}
