//! One student at work. Its questions are read in batches of like lengths; what is to be written for them is written side by side,
//! a token of each row at a step. Between two steps rows that have ended leave, and questions that came meanwhile join, so that a
//! short answer does not wait for a long one that began before it.

mod beginning;

use std::collections::BTreeMap;
use std::time::Instant;

use super::answer::{self, Finished};
use super::asked::Asked;
use super::complete::Raw;
use super::inbox::{Inbox, ThreadEnds};
use super::labels::LabelSets;
use super::question::{Question, Recipient, Reply, Request};
use super::searching::Searching;
use super::under_way::{Part, UnderWay, Work, Writing};
use super::{InferenceError, ModelFiles};
use crate::device::{self, DeviceError};
use crate::student::Student;
use crate::student::generation::{Generated, Generation};

/// Batches taken from the queue at once, so that there is something to sort by length.
const BATCHES_AT_ONCE: usize = 4;

/// A student with its questions.
pub(super) struct Serving<'a> {
    student: &'a Student,
    model: &'a ModelFiles,
    label_sets: &'a mut LabelSets,
    max_batch: usize,
    /// What is read next, the longest last.
    prepared: Vec<(Recipient, Work)>,
    writing: Generation<'a>,
    searching: Searching<'a>,
    /// Questions that something is being written for, by number; their rows are called by it and their part.
    under_way: BTreeMap<usize, UnderWay>,
    /// The next question's number.
    next: usize,
    /// Questions that were answered since the last look at who has come.
    answered: usize,
}

impl<'a> Serving<'a> {
    /// A student that nobody has asked yet.
    pub fn new(student: &'a Student, model: &'a ModelFiles, label_sets: &'a mut LabelSets, max_batch: usize) -> Self {
        Self {
            student,
            model,
            label_sets,
            max_batch,
            prepared: Vec::new(),
            writing: Generation::new(&student.model),
            searching: Searching::new(student, max_batch),
            under_way: BTreeMap::new(),
            next: 0,
            answered: 0,
        }
    }

    /// Answers what waits for the student, and what comes meanwhile as long as nobody waits for another.
    pub fn work(mut self, inbox: &mut Inbox) -> Result<(), ThreadEnds> {
        self.take(inbox);
        while !self.prepared.is_empty() || !self.under_way.is_empty() || !self.searching.is_empty() {
            self.begin();
            self.step();
            self.searching.step();
            let answered = std::mem::take(&mut self.answered);
            if self.prepared.is_empty() {
                inbox.gather(answered)?;
            }
            inbox.look()?;
            self.turn_away();
            if self.prepared.is_empty() && !inbox.others_wait(self.model) {
                self.take(inbox);
            }
        }
        Ok(())
    }

    /// Takes questions; those that the student cannot read are answered at once.
    fn take(&mut self, inbox: &mut Inbox) {
        for question in inbox.questions_for(self.model, self.max_batch * BATCHES_AT_ONCE) {
            let Question { request, recipient, .. } = question;
            let work = match request {
                Request::Prediction(request) => {
                    Asked::new((&self.model.key, self.student), &request, self.label_sets).map(Work::Asked)
                }
                Request::Completion(request) => Raw::new(self.student, request).map(Work::Raw),
            };
            match work {
                Ok(work) => self.prepared.push((recipient, work)),
                Err(error) => recipient.reply(Err(error)),
            }
        }
        self.prepared.sort_by_key(|(_, work)| work.size());
    }

    /// Whoever waited too long is told so, and who has left gives back the place, also behind rows that are being written.
    fn turn_away(&mut self) {
        let now = Instant::now();
        self.prepared.retain(|(recipient, _)| !recipient.is_gone());
        for (recipient, _) in self.prepared.extract_if(.., |(recipient, _)| recipient.course.is_late(now)) {
            recipient.reply(Err(InferenceError::Expired));
        }
        self.searching.turn_away(now);
    }

    /// A token of every row, and the answers that are whole with it.
    fn step(&mut self) {
        let (student, under_way) = (self.student, &mut self.under_way);
        let mut heard = |name: usize, said: &Generated| {
            let (number, part) = Part::of(name);
            under_way.get_mut(&number).is_none_or(|under_way| under_way.hear(student, part, said))
        };
        let rows = self.writing.len();
        match device::catch("the prediction", || self.writing.step(&mut heard)) {
            Ok(ended) => {
                self.count(rows);
                let done = ended.into_iter().filter_map(|(name, said)| self.keep(name, &said)).collect();
                self.finish(done);
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Notes a step, of so many rows.
    fn count(&mut self, rows: usize) {
        for under_way in self.under_way.values_mut() {
            under_way.recipient.course.token();
        }
        count_batch(self.under_way.values().next().map(|under_way| &under_way.recipient), rows);
    }

    /// Keeps what a row has said; its question, if that was all.
    fn keep(&mut self, name: usize, said: &Generated) -> Option<UnderWay> {
        let (number, part) = Part::of(name);
        let under_way = self.under_way.get_mut(&number)?;
        under_way.keep(self.student, part, said);
        if under_way.parts == 0 { self.under_way.remove(&number) } else { None }
    }

    fn finish(&mut self, done: Vec<UnderWay>) {
        self.answered += done.len();
        let (mut recipients, mut answering) = (Vec::new(), Vec::new());
        for UnderWay { recipient, writing, .. } in done {
            if recipient.is_gone() {
                continue;
            }
            match writing {
                Writing::Answer(one) => {
                    recipients.push(recipient);
                    answering.push(one);
                }
                Writing::Completion(completion) => recipient.reply(completion.map(Reply::Completion)),
                Writing::Prompt(_) => unreachable!("a completion is kept with the end of its one row"),
            }
        }
        if answering.is_empty() {
            return;
        }
        let finished = device::catch("the prediction", || answer::finish(self.student, answering));
        let Some((recipients, Finished { predictions, weighed, read })) = answered(recipients, finished) else {
            return;
        };
        count_batch(recipients.first(), weighed);
        count_read(recipients.first(), read);
        for (recipient, prediction) in recipients.into_iter().zip(predictions) {
            recipient.reply(prediction.map(Reply::Prediction));
        }
    }

    /// Gives up all that is being written: the buffers may be half-changed.
    fn fail(&mut self, error: &DeviceError) {
        self.writing = Generation::new(&self.student.model);
        let recipients = std::mem::take(&mut self.under_way).into_values().map(|under_way| under_way.recipient);
        refuse(recipients.collect(), error);
    }
}

/// Notes that the decoder computed so many rows, of one question among others.
fn count_batch(any: Option<&Recipient>, rows: usize) {
    if let (Some(any), 1..) = (any, rows) {
        any.course.batch(rows);
    }
}

/// Notes that the encoder read so many inputs, that of one question among others.
pub(super) fn count_read(any: Option<&Recipient>, inputs: usize) {
    if let (Some(any), 1..) = (any, inputs) {
        any.course.read(inputs);
    }
}

/// Those whom answers are for with what was found for them; none, and a refusal for each, where the device failed.
pub(super) fn answered<T>(recipients: Vec<Recipient>, found: Result<T, DeviceError>) -> Option<(Vec<Recipient>, T)> {
    match found {
        Ok(found) => Some((recipients, found)),
        Err(error) => {
            refuse(recipients, &error);
            None
        }
    }
}

pub(super) fn refuse(recipients: Vec<Recipient>, error: &DeviceError) {
    tracing::error!(%error, rows = recipients.len(), "a batch failed");
    recipients.into_iter().for_each(|recipient| recipient.reply(Err(InferenceError::from(error.clone()))));
}

#[cfg(test)]
mod tests;
