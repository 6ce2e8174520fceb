//! The thread that owns the device: it chooses what to compute next and survives what fails.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvError};

use tch::Device;
use tokio::sync::oneshot;

use super::answer::answer;
use super::asked::Asked;
use super::complete::{Raw, complete};
use super::engine::{Message, Question, Reply, Request};
use super::labels::LabelSets;
use super::shelf::Shelf;
use super::warm_up::warm_up;
use super::{InferenceError, ModelFiles};
use crate::device;
use crate::domain::Precision;
use crate::student::Student;

/// Batches taken from the queue at once, so that there is something to sort by length: padding is computed too.
const BATCHES_AT_ONCE: usize = 4;

/// Tokens of a batch, padding included, for each of its `max_batch` rows: a batch of long inputs has fewer rows, because
/// attention's memory grows with the square of the length.
const TOKENS_A_ROW: usize = 256;

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
    messages: Receiver<Message>,
    waiting: VecDeque<Question>,
    shelf: Shelf,
}

/// The thread has been told to stop, or nobody is left to tell it anything.
struct Stopped;

impl From<RecvError> for Stopped {
    fn from(_: RecvError) -> Self {
        Self
    }
}

impl DeviceThread {
    pub fn new(limits: Limits, messages: Receiver<Message>) -> Self {
        let shelf = Shelf::new(limits.max_models);
        Self { limits, messages, waiting: VecDeque::new(), shelf }
    }

    /// Answers until it is stopped. Gradients are off for the whole thread.
    pub fn work(mut self) {
        tch::set_num_threads(self.limits.threads);
        let _no_gradients = tch::no_grad_guard();
        while self.step().is_ok() {}
    }

    /// Waits for something to do and does one model's share of it.
    fn step(&mut self) -> Result<(), Stopped> {
        if self.waiting.is_empty() {
            let message = self.messages.recv()?;
            self.take(message)?;
        }
        while let Ok(message) = self.messages.try_recv() {
            self.take(message)?;
        }
        self.serve_oldest();
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<(), Stopped> {
        match message {
            Message::Answer(question) => self.waiting.push_back(question),
            Message::WarmUp(answer) => self.warm_up(answer),
            Message::Forget(key) => self.shelf.forget(&key),
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

    /// Whoever waits longest chooses the model.
    fn serve_oldest(&mut self) {
        self.waiting.retain(|question| !question.answer.is_closed());
        let Some(model) = self.waiting.front().map(|question| question.model.clone()) else { return };
        let mut questions = self.questions_for(&model);
        let (precision, device) = (self.limits.precision, self.limits.device);
        let loaded = device::catch("loading the model", || self.shelf.get(&model, device, precision));
        match loaded.map_err(InferenceError::from).and_then(|inner| inner) {
            Ok(student) => serve(student, questions, self.limits.max_batch),
            Err(error) => {
                tracing::warn!(model = model.key, directory = %model.directory.display(), %error, "model not loaded");
                questions.drain(..).for_each(|question| reply(question, Err(error.clone())));
            }
        }
    }

    fn questions_for(&mut self, model: &ModelFiles) -> Vec<Question> {
        let most = self.limits.max_batch * BATCHES_AT_ONCE;
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

/// Answers in batches of one kind and of like lengths.
fn serve(student: &Student, questions: Vec<Question>, max_batch: usize) {
    let (mut predictions, mut completions) = (Vec::new(), Vec::new());
    let mut label_sets = LabelSets::new(student);
    for question in questions {
        match &question.request {
            Request::Prediction(request) => {
                let asked = Asked::new(student, request, &mut label_sets);
                prepare(question, asked, &mut predictions);
            }
            Request::Completion(request) => {
                let raw = Raw::new(student, request);
                prepare(question, raw, &mut completions);
            }
        }
    }
    serve_kind(predictions, max_batch, Asked::length, |asked| replies(answer(student, asked), Reply::Prediction));
    serve_kind(completions, max_batch, Raw::length, |raw| replies(complete(student, raw), Reply::Completion));
}

/// A question with what the student will read; one that it cannot read is answered at once.
fn prepare<T>(question: Question, read: Result<T, InferenceError>, prepared: &mut Vec<(Question, T)>) {
    match read {
        Ok(read) => prepared.push((question, read)),
        Err(error) => reply(question, Err(error)),
    }
}

fn replies<T>(
    answers: Vec<Result<T, InferenceError>>,
    kind: impl Fn(T) -> Reply + Copy,
) -> Vec<Result<Reply, InferenceError>> {
    answers.into_iter().map(|answer| answer.map(kind)).collect()
}

fn serve_kind<T>(
    mut prepared: Vec<(Question, T)>,
    max_batch: usize,
    length: impl Fn(&T) -> usize,
    answer: impl Fn(&[T]) -> Vec<Result<Reply, InferenceError>>,
) {
    prepared.sort_by_key(|(_, read)| length(read));
    while let Some((_, longest)) = prepared.last() {
        let rows = rows_at_once(length(longest), max_batch).min(prepared.len());
        serve_batch(prepared.split_off(prepared.len() - rows), &answer);
    }
}

fn rows_at_once(longest: usize, max_batch: usize) -> usize {
    (max_batch * TOKENS_A_ROW / longest.max(1)).clamp(1, max_batch)
}

fn serve_batch<T>(mut batch: Vec<(Question, T)>, answer: impl Fn(&[T]) -> Vec<Result<Reply, InferenceError>>) {
    batch.retain(|(question, _)| !question.answer.is_closed());
    let (questions, read): (Vec<Question>, Vec<T>) = batch.into_iter().unzip();
    if read.is_empty() {
        return;
    }
    match device::catch("the prediction", || answer(&read)) {
        Ok(answers) => questions.into_iter().zip(answers).for_each(|(question, answer)| reply(question, answer)),
        Err(error) => {
            tracing::error!(%error, rows = read.len(), "a batch failed");
            questions.into_iter().for_each(|question| reply(question, Err(error.clone().into())));
        }
    }
}

/// Gives the place back first: whoever has the answer may ask again at once.
fn reply(question: Question, answer: Result<Reply, InferenceError>) {
    let Question { place, answer: to_client, .. } = question;
    drop(place);
    // Whoever asked may have left meanwhile.
    let _ = to_client.send(answer);
}
