//! How the next questions begin: they are read together, their labels are weighed, and rows for them join those that are written.

use std::ops::ControlFlow;

use super::super::answer::{self, Begun, Joining};
use super::super::asked::Asked;
use super::super::batching::{self, Room};
use super::super::complete::Raw;
use super::super::encoded_inputs::EncodedInputs;
use super::super::question::Recipient;
use super::super::under_way::{Part, UnderWay, Work};
use super::{Serving, answered, count_batch, count_read};
use crate::device;
use crate::student::choice::Scores;
use crate::student::generation::Beginning;

impl Serving<'_> {
    /// Reads the next batch, and answers what needs no writing.
    pub(super) fn begin(&mut self) {
        let (mut asked, mut joining) = (Vec::new(), Vec::new());
        for (recipient, work) in self.next_batch() {
            if recipient.is_gone() {
                continue;
            }
            match work {
                Work::Asked(one) => asked.push((recipient, one)),
                Work::Raw(raw) => match raw.search() {
                    Some(search) => self.searching.take(recipient, raw, search),
                    None => joining.push((recipient, raw)),
                },
            }
        }
        self.begin_predictions(asked);
        self.begin_completions(joining);
    }

    /// As many of the longest as there is room for.
    fn next_batch(&mut self) -> Vec<(Recipient, Work)> {
        let room = Room {
            rows: self.writing.len(),
            longest: self.under_way.values().map(|under_way| under_way.length).max().unwrap_or_default(),
            max_batch: self.max_batch,
            pads: self.student.model.pads(),
        };
        let waiting = self.prepared.iter().rev().map(|(_, work)| work.size());
        let count = batching::read_now(waiting, room);
        self.prepared.split_off(self.prepared.len() - count)
    }

    fn begin_predictions(&mut self, asked: Vec<(Recipient, Asked)>) {
        let Some((recipients, asked)) = begun(asked) else { return };
        let begun = device::catch("the prediction", || answer::begin(self.student, asked));
        let Some((recipients, begun)) = answered(recipients, begun) else { return };
        let Begun { answering, labels, rationales, weighed, read } = begun;
        count_batch(recipients.first(), weighed);
        let of_rationales = rationales.as_ref().map_or(0, |joining| joining.inputs.read);
        [read, of_rationales].into_iter().for_each(|read| count_read(recipients.first(), read));
        let first = self.next;
        let mut done = Vec::new();
        let mut choices = Vec::new();
        for (recipient, answering) in recipients.into_iter().zip(answering) {
            choices.push((answering.asked.choosing.clone(), answering.asked.scores));
            let under_way = UnderWay::answer(self.student, recipient, answering);
            if under_way.parts == 0 {
                done.push(under_way)
            } else {
                drop(self.under_way.insert(self.next, under_way))
            }
            self.next += 1;
        }
        self.finish(done);
        for (part, joining) in [(Part::Words, labels), (Part::Rationale, rationales)] {
            if let Some(Joining { places, inputs }) = joining {
                let beginning = |place: usize| {
                    let (choosing, scores) = choices[place].clone();
                    let scores = if part == Part::Words { scores } else { Scores::None };
                    let (name, expected) = (part.name(first + place), self.under_way[&(first + place)].most(part));
                    Beginning { name, expected, choosing, scores, ..Beginning::default() }
                };
                let beginnings = places.into_iter().map(beginning).collect();
                // A failure is that of all rows, those that would begin next among them.
                if self.join("the prediction", &inputs, beginnings).is_break() {
                    break;
                }
            }
        }
    }

    fn begin_completions(&mut self, raw: Vec<(Recipient, Raw)>) {
        let Some((recipients, raw)) = begun(raw) else { return };
        let inputs = device::catch("the completion", || EncodedInputs::new(self.student, &raw));
        let Some((recipients, inputs)) = answered(recipients, inputs) else { return };
        count_read(recipients.first(), inputs.read);
        let mut beginnings = Vec::new();
        for (recipient, raw) in recipients.into_iter().zip(raw) {
            beginnings.push(raw.beginning(Part::Words.name(self.next)));
            self.under_way.insert(self.next, UnderWay::completion(self.student, recipient, raw));
            self.next += 1;
        }
        // Nothing else begins with them.
        let _ = self.join("the completion", &inputs, beginnings);
    }

    /// Rows join those that are written; it breaks where that fails, and with it all that is being written.
    pub(super) fn join(&mut self, what: &str, inputs: &EncodedInputs, beginnings: Vec<Beginning>) -> ControlFlow<()> {
        match device::catch(what, || self.writing.join(&inputs.encoded, &inputs.mask, beginnings)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.fail(&error);
                ControlFlow::Break(())
            }
        }
    }
}

/// The work of some begins now; none where there are none.
fn begun<T>(work: Vec<(Recipient, T)>) -> Option<(Vec<Recipient>, Vec<T>)> {
    let begin = |(mut recipient, one): (Recipient, T)| {
        recipient.course.begin();
        (recipient, one)
    };
    (!work.is_empty()).then(|| work.into_iter().map(begin).unzip())
}
