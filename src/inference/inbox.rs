//! What the device's thread was told and has not done yet, and the students that it has. Questions wait here in the order in
//! which they came.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::Instant;

use tch::{Device, Kind};
use tokio::sync::oneshot;

use super::library::Library;
use super::question::Question;
use super::returning::{MOMENT, Returning};
use super::warm_up::warm_up;
use super::{InferenceError, ModelFiles};
use crate::device;
use crate::student::Student;

/// What the device's thread is told.
pub(super) enum Message {
    /// The questions of one call, which are there together.
    Answer(Vec<Question>),
    WarmUp(oneshot::Sender<Result<(), InferenceError>>),
    /// A student by its model's key. Questions for it come after it.
    Shelve(String, Box<Student>),
    /// The student of this key goes. No question for it comes before it is shelved again.
    PutAway(String),
    Stop(oneshot::Sender<()>),
}

/// The thread has been told to stop, or nobody is left to tell it anything: it ends.
pub(super) struct ThreadEnds;

impl From<RecvError> for ThreadEnds {
    fn from(_: RecvError) -> Self {
        Self
    }
}

pub(super) struct Inbox {
    device: Device,
    kind: Kind,
    messages: Receiver<Message>,
    waiting: VecDeque<Question>,
    students: BTreeMap<String, Rc<Student>>,
    library: Weak<Library>,
    returning: Returning,
}

impl Inbox {
    /// Hears messages of a device that computes in this kind of number; what becomes of students is the library's to know.
    pub fn new((device, kind): (Device, Kind), messages: Receiver<Message>, library: Weak<Library>) -> Self {
        let (waiting, students, returning) = (VecDeque::new(), BTreeMap::new(), Returning::default());
        Self { device, kind, messages, waiting, students, library, returning }
    }

    /// Takes what has come; where nothing waits, waits for it.
    pub fn wait(&mut self) -> Result<(), ThreadEnds> {
        if self.waiting.is_empty() {
            let message = self.messages.recv()?;
            self.take(message)?;
        }
        self.look()
    }

    /// Waits a moment for those who were just answered, where they use to ask again at once.
    pub fn gather(&mut self, answered: usize) -> Result<(), ThreadEnds> {
        if answered == 0 || !self.returning.expected() {
            return Ok(());
        }
        let (until, before) = (Instant::now() + MOMENT, self.waiting.len());
        while self.waiting.len() < before + answered {
            match self.messages.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(message) => self.take(message)?,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Err(ThreadEnds),
            }
        }
        self.returning.came(self.waiting.len() - before, answered);
        Ok(())
    }

    /// Takes what has come. Whoever has left waits no longer, and whoever has waited too long is told so.
    pub fn look(&mut self) -> Result<(), ThreadEnds> {
        while let Ok(message) = self.messages.try_recv() {
            self.take(message)?;
        }
        self.waiting.retain(|question| !question.recipient.is_gone());
        let now = Instant::now();
        let is_late = |question: &Question| question.recipient.course.is_late(now);
        if self.waiting.iter().any(is_late) {
            let (late, waiting): (VecDeque<_>, _) = std::mem::take(&mut self.waiting).into_iter().partition(is_late);
            self.waiting = waiting;
            late.into_iter().for_each(|late| late.recipient.reply(Err(InferenceError::Expired)));
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<(), ThreadEnds> {
        match message {
            Message::Answer(questions) => self.waiting.extend(questions),
            Message::WarmUp(answer) => self.warm_up(answer),
            Message::Shelve(key, student) => drop(self.students.insert(key, Rc::new(*student))),
            Message::PutAway(key) => self.put_away(&key),
            Message::Stop(told) => {
                // Whoever stopped us may not wait for it.
                let _ = told.send(());
                return Err(ThreadEnds);
            }
        }
        Ok(())
    }

    fn put_away(&mut self, key: &str) {
        drop(self.students.remove(key));
        if let Some(library) = self.library.upgrade() {
            library.gone(key);
        }
    }

    fn warm_up(&self, answer: oneshot::Sender<Result<(), InferenceError>>) {
        if answer.is_closed() {
            return;
        }
        let outcome = device::catch("the warm-up", || warm_up(self.device, self.kind));
        // Whoever asked may have left meanwhile.
        let _ = answer.send(outcome.map_err(InferenceError::from).and_then(|inner| inner));
    }

    /// The model of whoever waits longest, with its student.
    pub fn next(&self) -> Option<(Arc<ModelFiles>, Rc<Student>)> {
        let model = self.waiting.front()?.model();
        let student =
            self.students.get(&model.key).expect("a student is shelved before it is asked and until it is answered");
        Some((Arc::clone(model), Rc::clone(student)))
    }

    /// Whether somebody waits for another model.
    pub fn others_wait(&self, model: &ModelFiles) -> bool {
        self.waiting.iter().any(|question| question.model().key != model.key)
    }

    /// The oldest questions for a model, so many at most.
    pub fn questions_for(&mut self, model: &ModelFiles, most: usize) -> Vec<Question> {
        let mut questions = Vec::new();
        for question in std::mem::take(&mut self.waiting) {
            if questions.len() < most && question.model().key == model.key {
                questions.push(question);
            } else {
                self.waiting.push_back(question);
            }
        }
        questions
    }
}

/// However the thread ends, nobody waits in vain.
impl Drop for Inbox {
    fn drop(&mut self) {
        if let Some(library) = self.library.upgrade() {
            library.close();
        }
    }
}
