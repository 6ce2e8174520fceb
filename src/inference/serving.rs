//! One student at work. Its questions are read in batches of like lengths; what is to be written for them is written side by side,
//! a token of each row at a step. Between two steps rows that have ended leave, and questions that came meanwhile join, so that a
//! short answer does not wait for a long one that began before it.

use std::collections::BTreeMap;
use std::time::Instant;

use super::answer::{self, Begun, Joining};
use super::asked::Asked;
use super::complete::Raw;
use super::device_thread::reply;
use super::engine::{Question, Reply, Request};
use super::inbox::{Inbox, Stopped};
use super::labels::LabelSets;
use super::read::Read;
use super::searching::Searching;
use super::under_way::{Part, UnderWay, Work, Writing};
use super::{InferenceError, ModelFiles};
use crate::device::{self, DeviceError};
use crate::student::Student;
use crate::student::choice::Scores;
use crate::student::generation::{Beginning, Generated, Generation};

/// Batches taken from the queue at once, so that there is something to sort by length: padding is computed too.
const BATCHES_AT_ONCE: usize = 4;

/// Tokens of a batch, padding included, for each of its `max_batch` rows: a batch of long inputs has fewer rows, because
/// attention's memory grows with the square of the length.
const TOKENS_A_ROW: usize = 256;

/// Tokens that rows may write before their buffers grow.
const USUAL_LENGTH: usize = 64;

/// A student with its questions.
pub(super) struct Serving<'a> {
    student: &'a Student,
    model: &'a ModelFiles,
    label_sets: &'a mut LabelSets,
    max_batch: usize,
    /// What is read next, the longest last.
    prepared: Vec<(Question, Work)>,
    writing: Generation<'a>,
    searching: Searching<'a>,
    /// Questions that something is being written for, by number; their rows are called by it and their part.
    under_way: BTreeMap<usize, UnderWay>,
    /// The next question's number.
    next: usize,
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
            writing: Generation::new(&student.model, USUAL_LENGTH),
            searching: Searching::new(student, max_batch),
            under_way: BTreeMap::new(),
            next: 0,
        }
    }

    /// Answers what waits for the student, and what comes meanwhile as long as nobody waits for another.
    pub fn work(mut self, inbox: &mut Inbox) -> Result<(), Stopped> {
        self.take(inbox);
        while !self.prepared.is_empty() || !self.under_way.is_empty() || !self.searching.is_empty() {
            self.begin();
            self.step();
            self.searching.step();
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
            let work = match &question.request {
                Request::Prediction(request) => {
                    Asked::new((&self.model.key, self.student), request, self.label_sets).map(Work::Asked)
                }
                Request::Completion(request) => Raw::new(self.student, request).map(Work::Raw),
            };
            match work {
                Ok(work) => self.prepared.push((question, work)),
                Err(error) => reply(question, Err(error)),
            }
        }
        self.prepared.sort_by_key(|(_, work)| work.length());
    }

    /// Whoever waited too long is told so, also behind rows that are being written.
    fn turn_away(&mut self) {
        let now = Instant::now();
        for (question, _) in self.prepared.extract_if(.., |(question, _)| question.course.is_late(now)) {
            reply(question, Err(InferenceError::Expired));
        }
    }

    /// Reads the next batch, and answers what needs no writing.
    fn begin(&mut self) {
        let (mut asked, mut joining) = (Vec::new(), Vec::new());
        for (mut question, work) in self.next_batch() {
            if question.answer.is_closed() {
                continue;
            }
            question.course.begin();
            match work {
                Work::Asked(one) => asked.push((question, one)),
                Work::Raw(raw) => match raw.search() {
                    Some(search) => self.searching.take(question, raw, search),
                    None => joining.push((question, raw)),
                },
            }
        }
        self.begin_predictions(asked);
        self.begin_completions(joining);
    }

    /// As many of the longest as there is room for.
    fn next_batch(&mut self) -> Vec<(Question, Work)> {
        let Some((_, longest)) = self.prepared.last() else { return Vec::new() };
        let under_way = self.under_way.values().map(|under_way| under_way.length);
        let most = rows_at_once(under_way.chain([longest.length()]).max().unwrap_or_default(), self.max_batch);
        let (mut count, mut rows) = (0, self.writing.len());
        for (_, work) in self.prepared.iter().rev().take(most) {
            rows += work.rows();
            // What needs more room than there ever is goes alone.
            let alone = count == 0 && self.writing.is_empty();
            if work.rows() > 0 && rows > most && !alone {
                break;
            }
            count += 1;
        }
        self.prepared.split_off(self.prepared.len() - count)
    }

    fn begin_predictions(&mut self, asked: Vec<(Question, Asked)>) {
        let (questions, asked): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        if asked.is_empty() {
            return;
        }
        let begun = device::catch("the prediction", || answer::begin(self.student, asked));
        let Some((questions, Begun { answering, labels, rationales })) = answered(questions, begun) else { return };
        let first = self.next;
        let mut done = Vec::new();
        let mut choices = Vec::new();
        for (question, answering) in questions.into_iter().zip(answering) {
            choices.push((answering.asked.choosing.clone(), answering.asked.scores));
            let under_way = UnderWay::answer(self.student, question, answering);
            if under_way.parts == 0 {
                done.push(under_way)
            } else {
                drop(self.under_way.insert(self.next, under_way))
            }
            self.next += 1;
        }
        self.finish(done);
        for (part, joining) in [(Part::Words, labels), (Part::Rationale, rationales)] {
            if let Some(Joining { places, read }) = joining {
                let beginning = |place: usize| {
                    let (choosing, scores) = choices[place].clone();
                    let scores = if part == Part::Words { scores } else { Scores::None };
                    Beginning { name: part.name(first + place), choosing, scores, ..Beginning::default() }
                };
                self.join(&read, places.into_iter().map(beginning).collect());
            }
        }
    }

    fn begin_completions(&mut self, raw: Vec<(Question, Raw)>) {
        let (questions, raw): (Vec<_>, Vec<_>) = raw.into_iter().unzip();
        if raw.is_empty() {
            return;
        }
        let read = device::catch("the completion", || Read::new(self.student, &raw));
        let Some((questions, read)) = answered(questions, read) else { return };
        let mut beginnings = Vec::new();
        for (question, raw) in questions.into_iter().zip(raw) {
            beginnings.push(raw.beginning(Part::Words.name(self.next)));
            self.under_way.insert(self.next, UnderWay::completion(self.student, question, raw));
            self.next += 1;
        }
        self.join(&read, beginnings);
    }

    fn join(&mut self, read: &Read, beginnings: Vec<Beginning>) {
        let joined = device::catch("the prediction", || self.writing.join(&read.encoded, &read.mask, beginnings));
        if let Err(error) = joined {
            self.fail(&error);
        }
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
            under_way.question.course.token();
        }
        if let (Some(any), 1..) = (self.under_way.values().next(), rows) {
            any.question.course.batch(rows);
        }
    }

    /// Keeps what a row has said; its question, if that was all.
    fn keep(&mut self, name: usize, said: &Generated) -> Option<UnderWay> {
        let (number, part) = Part::of(name);
        let under_way = self.under_way.get_mut(&number)?;
        under_way.keep(self.student, part, said);
        if under_way.parts == 0 { self.under_way.remove(&number) } else { None }
    }

    fn finish(&self, done: Vec<UnderWay>) {
        let (mut questions, mut answering) = (Vec::new(), Vec::new());
        for UnderWay { question, writing, .. } in done {
            if question.answer.is_closed() {
                continue;
            }
            match writing {
                Writing::Answer(one) => {
                    questions.push(question);
                    answering.push(one);
                }
                Writing::Completion(completion) => reply(question, completion.map(Reply::Completion)),
                Writing::Prompt(_) => unreachable!("a completion is kept with the end of its one row"),
            }
        }
        if answering.is_empty() {
            return;
        }
        let finished = device::catch("the prediction", || answer::finish(self.student, answering));
        let Some((questions, finished)) = answered(questions, finished) else { return };
        for (question, prediction) in questions.into_iter().zip(finished) {
            reply(question, prediction.map(Reply::Prediction));
        }
    }

    /// Gives up all that is being written: the buffers may be half-changed.
    fn fail(&mut self, error: &DeviceError) {
        self.writing = Generation::new(&self.student.model, USUAL_LENGTH);
        let questions = std::mem::take(&mut self.under_way).into_values().map(|under_way| under_way.question);
        refuse(questions.collect(), error);
    }
}

/// Rows of such a length that are computed at once.
fn rows_at_once(longest: usize, max_batch: usize) -> usize {
    (max_batch * TOKENS_A_ROW / longest.max(1)).clamp(1, max_batch)
}

/// The questions with what was found for them; none, and a refusal for each, where the device failed.
pub(super) fn answered<T>(questions: Vec<Question>, found: Result<T, DeviceError>) -> Option<(Vec<Question>, T)> {
    match found {
        Ok(found) => Some((questions, found)),
        Err(error) => {
            refuse(questions, &error);
            None
        }
    }
}

pub(super) fn refuse(questions: Vec<Question>, error: &DeviceError) {
    tracing::error!(%error, rows = questions.len(), "a batch failed");
    questions.into_iter().for_each(|question| reply(question, Err(InferenceError::from(error.clone()))));
}

#[cfg(test)]
#[path = "serving_tests.rs"]
mod tests;
