//! Beam searches of one student: prompts that are searched alike go on side by side, a token at a step, between the steps of the rows
//! that need no search. Nobody waits for a search but whoever asked for it and those whose search comes next.

use std::time::Instant;

use super::InferenceError;
use super::complete::Raw;
use super::encoded_inputs::EncodedInputs;
use super::following::Fragment;
use super::question::{Recipient, Reply};
use super::serving::{answered, count_read, refuse};
use super::under_way::Part;
use crate::device;
use crate::student::Student;
use crate::student::beam_search::{BeamSearch, Hypothesis, Search};
use crate::student::generation::Generated;

/// The searches of a student.
pub(super) struct Searching<'a> {
    student: &'a Student,
    /// Beginnings that are gone on from side by side, unless one search alone has more.
    most_rows: usize,
    /// The oldest first.
    waiting: Vec<Waiting>,
    group: Option<Group<'a>>,
}

/// A search that has not begun.
struct Waiting {
    recipient: Recipient,
    prompt: Raw,
    search: BeamSearch,
}

/// Searches that go on side by side.
struct Group<'a> {
    search: Search<'a>,
    /// By the search's places; none where the answer was given.
    recipients: Vec<Option<Recipient>>,
    prompts: Vec<Raw>,
}

impl<'a> Searching<'a> {
    /// No searches yet.
    pub fn new(student: &'a Student, most_rows: usize) -> Self {
        Self { student, most_rows, waiting: Vec::new(), group: None }
    }

    /// Whether nothing is searched for.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.group.is_none()
    }

    /// Takes a prompt, which waits for its turn.
    pub fn take(&mut self, recipient: Recipient, prompt: Raw, search: BeamSearch) {
        self.waiting.push(Waiting { recipient, prompt, search });
    }

    /// Whoever has left gives back his place, whatever is being searched, and whoever waited too long for his turn is told so.
    pub fn turn_away(&mut self, now: Instant) {
        self.waiting.retain(|waiting| !waiting.recipient.is_gone());
        for late in self.waiting.extract_if(.., |waiting| waiting.recipient.course.is_late(now)) {
            late.recipient.reply(Err(InferenceError::Expired));
        }
    }

    /// One more token of every beginning, and the answers that are whole with it.
    pub fn step(&mut self) {
        if self.group.is_none() {
            self.begin();
        }
        if self.group.as_mut().is_some_and(|group| group.step(self.student)) {
            self.group = None;
        }
    }

    /// Begins the oldest search and those that are alike, as many as there is room for.
    fn begin(&mut self) {
        let Some(first) = self.waiting.first().map(|waiting| waiting.search) else { return };
        let most = (self.most_rows / first.beams).max(1);
        let (mut recipients, mut prompts, mut longest) = (Vec::new(), Vec::new(), first);
        let alike = |search: BeamSearch| BeamSearch { max_new_tokens: first.max_new_tokens, ..search } == first;
        let mut left = most;
        let joins = |waiting: &mut Waiting| {
            let joins = left > 0 && alike(waiting.search);
            left -= usize::from(joins);
            joins
        };
        for Waiting { mut recipient, prompt, search } in self.waiting.extract_if(.., joins) {
            recipient.course.begin();
            longest.max_new_tokens = longest.max_new_tokens.max(search.max_new_tokens);
            recipients.push(recipient);
            prompts.push(prompt);
        }
        let search = device::catch("the search", || {
            let inputs = EncodedInputs::new(self.student, &prompts);
            (Search::new(&self.student.model, &inputs.encoded, &inputs.mask, longest), inputs.read)
        });
        self.group = answered(recipients, search).map(|(recipients, (search, read))| {
            count_read(recipients.first(), read);
            let recipients = recipients.into_iter().map(Some).collect();
            Group { search, recipients, prompts }
        });
    }
}

impl Group<'_> {
    /// A token of every beginning; whether all is over with it.
    fn step(&mut self, student: &Student) -> bool {
        let Self { search, recipients, prompts } = self;
        let has_left = |recipient: &Option<Recipient>| recipient.as_ref().is_none_or(Recipient::is_gone);
        if recipients.iter().all(has_left) {
            return true;
        }
        let rows = search.len();
        let enough =
            |place: usize, said: &[i64]| has_left(&recipients[place]) || prompts[place].is_enough(student, said);
        match device::catch("the search", || search.step(&enough)) {
            Ok(found) => {
                count(recipients, rows);
                for (place, found) in found {
                    let recipient = recipients[place].take();
                    recipient
                        .into_iter()
                        .for_each(|recipient| answer(student, recipient, &prompts[place], found.first()));
                }
            }
            Err(error) => refuse(recipients.iter_mut().filter_map(Option::take).collect(), &error),
        }
        // Also after a failure, of which all have been told.
        recipients.iter().all(Option::is_none)
    }
}

/// Notes a step, of so many beginnings.
fn count(recipients: &mut [Option<Recipient>], rows: usize) {
    let mut courses = recipients.iter_mut().flatten().map(|recipient| &mut recipient.course);
    if let Some(first) = courses.next() {
        first.batch(rows);
        first.token();
    }
    courses.for_each(|course| course.token());
}

/// Answers with the best that was found; nothing is found where the student's scores are not numbers.
fn answer(student: &Student, recipient: Recipient, prompt: &Raw, best: Option<&Hypothesis>) {
    let Some(best) = best else { return recipient.reply(Err(InferenceError::no_numbers())) };
    let said = Generated { ids: best.ids.clone(), ..Generated::default() };
    let completion = prompt.completion(student, &said);
    if let Ok(completion) = &completion
        && recipient.listener.follows()
    {
        // What a search says first is not known before all of it.
        recipient.listener.tell(Fragment { part: Part::Words, text: completion.text.clone(), tokens: Vec::new() });
    }
    recipient.reply(completion.map(Reply::Completion));
}
