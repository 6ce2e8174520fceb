//! Beam searches of one student: prompts that are searched alike go on side by side, a token at a step, between the steps of the rows
//! that need no search. Nobody waits for a search but whoever asked for it and those whose search comes next.

use std::collections::VecDeque;

use super::InferenceError;
use super::complete::Raw;
use super::device_thread::reply;
use super::engine::{Question, Reply};
use super::following::{Fragment, Listener};
use super::read::Read;
use super::serving::{answered, refuse};
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
    waiting: VecDeque<(Question, Raw, BeamSearch)>,
    under_way: Option<UnderWay<'a>>,
}

/// Searches that go on side by side.
struct UnderWay<'a> {
    search: Search<'a>,
    /// By the search's places; none where the answer was given.
    questions: Vec<Option<Question>>,
    prompts: Vec<Raw>,
}

impl<'a> Searching<'a> {
    /// No searches yet.
    pub fn new(student: &'a Student, most_rows: usize) -> Self {
        Self { student, most_rows, waiting: VecDeque::new(), under_way: None }
    }

    /// Whether nothing is searched for.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_none()
    }

    /// Takes a prompt, which waits for its turn.
    pub fn take(&mut self, question: Question, prompt: Raw, search: BeamSearch) {
        self.waiting.push_back((question, prompt, search));
    }

    /// One more token of every beginning, and the answers that are whole with it.
    pub fn step(&mut self) {
        if self.under_way.is_none() {
            self.begin();
        }
        let student = self.student;
        let Some(UnderWay { search, questions, prompts }) = &mut self.under_way else { return };
        let is_left =
            |question: &Option<Question>| question.as_ref().is_none_or(|question| question.answer.is_closed());
        if questions.iter().all(is_left) {
            self.under_way = None;
            return;
        }
        let enough = |place: usize, said: &[i64]| is_left(&questions[place]) || prompts[place].is_enough(student, said);
        match device::catch("the search", || search.step(&enough)) {
            Ok(found) => {
                for (place, found) in found {
                    let question = questions[place].take();
                    question.into_iter().for_each(|question| answer(student, question, &prompts[place], found.first()));
                }
            }
            Err(error) => refuse(questions.iter_mut().filter_map(Option::take).collect(), &error),
        }
        // Also after a failure, of which all have been told.
        if questions.iter().all(Option::is_none) {
            self.under_way = None;
        }
    }

    /// Begins the oldest search and those that are alike, as many as there is room for.
    fn begin(&mut self) {
        self.waiting.retain(|(question, ..)| !question.answer.is_closed());
        let Some(first) = self.waiting.front().map(|(.., search)| *search) else { return };
        let alike = |search: &BeamSearch| BeamSearch { max_new_tokens: first.max_new_tokens, ..*search } == first;
        let (mut questions, mut prompts, mut longest) = (Vec::new(), Vec::new(), first);
        for (question, prompt, search) in std::mem::take(&mut self.waiting) {
            if alike(&search) && (prompts.is_empty() || (prompts.len() + 1) * first.beams <= self.most_rows) {
                longest.max_new_tokens = longest.max_new_tokens.max(search.max_new_tokens);
                questions.push(question);
                prompts.push(prompt);
            } else {
                self.waiting.push_back((question, prompt, search));
            }
        }
        let model = &self.student.model;
        let search = device::catch("the search", || {
            let read = Read::new(self.student, &prompts);
            Search::new(model, &read.encoded, &read.mask, longest)
        });
        self.under_way = answered(questions, search).map(|(questions, search)| {
            let questions = questions.into_iter().map(Some).collect();
            UnderWay { search, questions, prompts }
        });
    }
}

/// Answers with the best that was found; nothing is found where the student's scores are not numbers.
fn answer(student: &Student, question: Question, prompt: &Raw, best: Option<&Hypothesis>) {
    let Some(best) = best else { return reply(question, Err(InferenceError::no_numbers())) };
    let said = Generated { ids: best.ids.clone(), ..Generated::default() };
    let completion = prompt.completion(student, &said);
    if let (Listener::Follower(..), Ok(completion)) = (&question.answer, &completion) {
        // What a search says first is not known before all of it.
        question.answer.tell(Fragment { part: Part::Words, text: completion.text.clone(), tokens: Vec::new() });
    }
    reply(question, completion.map(Reply::Completion));
}
