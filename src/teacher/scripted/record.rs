//! What the scripted teacher was asked and what it would have charged for: the other side's books, for whoever checks
//! that nothing is bought twice and no limit passed.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::faults::{Fault, Faults};

/// The books.
#[derive(Debug)]
pub(super) struct Record {
    begun: Instant,
    faults: Option<Faults>,
    memory: Memory,
    entries: Mutex<Entries>,
}

/// Whether a call that repeats an `Idempotency-Key` is answered from memory, and so is not charged for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// It is.
    ByKey,
    /// It is asked anew.
    None,
}

#[derive(Debug, Default)]
struct Entries {
    calls: u64,
    under_way: usize,
    most_at_once: usize,
    billed_tokens: u64,
    faults: BTreeMap<&'static str, u64>,
    /// When each call came, in milliseconds since the start.
    came_at: Vec<u32>,
    /// By idempotency key, or by the whole request where it has none.
    questions: HashMap<u64, Question>,
}

/// One question, however often it was asked.
#[derive(Debug, Default)]
struct Question {
    body: u64,
    asked: u32,
    billed: u32,
    /// What is wrong with the answer that is remembered.
    flaw: Option<Fault>,
}

/// What the books say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tally {
    /// Calls that came.
    pub calls: u64,
    /// Questions: calls with the same `Idempotency-Key`, or of the same words where they have none, ask one.
    pub questions: usize,
    /// Answers charged for.
    pub billed: u64,
    /// Of these, those that had been charged for before.
    pub billed_twice: u64,
    /// Tokens charged for, in and out.
    pub billed_tokens: u64,
    /// Calls that were under way at once, at the most.
    pub most_at_once: usize,
    /// Calls that met a fault, by its kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// When each call came, in milliseconds since the start.
    pub came_at: Vec<u32>,
}

/// A call while it is under way.
#[derive(Debug)]
pub(super) struct Call {
    record: Arc<Record>,
    /// What happens to it.
    pub(super) fault: Option<Fault>,
    is_billed: bool,
}

impl Record {
    pub(super) fn new(memory: Memory, faults: Option<Faults>) -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), faults, memory, entries: Mutex::default() })
    }

    /// Enters a call, and decides what happens to it. An error names a key that was used for another question.
    pub(super) fn enter(self: &Arc<Self>, key: Option<&str>, body: &[u8]) -> Result<Call, String> {
        let body = digest(body);
        let place = key.map_or(body, |key| digest(key.as_bytes()));
        let mut entries = self.entries();
        let came_at = milliseconds(self.begun.elapsed());
        entries.came_at.push(came_at);
        entries.calls += 1;
        let question = entries.questions.entry(place).or_insert_with(|| Question { body, ..Question::default() });
        if question.body != body && self.memory == Memory::ByKey {
            return Err(format!("the idempotency key {:?} was used for another request", key.unwrap_or_default()));
        }
        let fault = self.faults.as_ref().and_then(|faults| faults.fate(place, question.asked));
        question.asked += 1;
        let billed = question.billed;
        let fault = self.bill(question, fault);
        let is_billed = question.billed > billed;
        if let Some(fault) = fault {
            *entries.faults.entry(fault.name()).or_default() += 1;
        }
        entries.under_way += 1;
        entries.most_at_once = entries.most_at_once.max(entries.under_way);
        drop(entries);
        Ok(Call { record: Arc::clone(self), fault, is_billed })
    }

    /// Charges for an answer that is thought out; one that is remembered costs nothing and has the flaw that it had.
    fn bill(&self, question: &mut Question, fault: Option<Fault>) -> Option<Fault> {
        if fault.is_some_and(Fault::turns_away) {
            return fault;
        }
        let of_the_answer = fault.filter(|fault| fault.is_of_the_answer());
        if self.memory == Memory::ByKey && question.billed > 0 {
            return if fault == of_the_answer { question.flaw } else { fault };
        }
        (question.billed, question.flaw) = (question.billed + 1, of_the_answer);
        fault
    }

    /// What the books say so far.
    pub(super) fn tally(&self) -> Tally {
        let entries = self.entries();
        let billed = |count: fn(&Question) -> u32| entries.questions.values().map(|one| u64::from(count(one))).sum();
        Tally {
            calls: entries.calls,
            questions: entries.questions.len(),
            billed: billed(|question| question.billed),
            billed_twice: billed(|question| question.billed.saturating_sub(1)),
            billed_tokens: entries.billed_tokens,
            most_at_once: entries.most_at_once,
            faults: entries.faults.clone(),
            came_at: entries.came_at.clone(),
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    /// Charges for so many tokens, unless the answer is a remembered one.
    pub(super) fn charge(&self, tokens: usize) {
        if self.is_billed {
            self.record.entries().billed_tokens += tokens as u64;
        }
    }
}

/// Also when the other end goes away.
impl Drop for Call {
    fn drop(&mut self) {
        self.record.entries().under_way -= 1;
    }
}

fn digest(bytes: &[u8]) -> u64 {
    // Its keys are fixed: every start of the program sees the same fates.
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_key_is_charged_for_once_where_it_is_remembered() {
        for (memory, billed, twice) in [(Memory::ByKey, 2, 0), (Memory::None, 4, 2)] {
            let record = Record::new(memory, None);
            for key in ["a", "b", "a", "a"] {
                drop(record.enter(Some(key), b"question").unwrap());
            }
            let tally = record.tally();
            assert_eq!((tally.calls, tally.questions, tally.billed, tally.billed_twice), (4, 2, billed, twice));
            assert_eq!((tally.most_at_once, tally.came_at.len()), (1, 4));
        }
    }

    #[test]
    fn a_key_that_comes_with_another_question_is_named() {
        let record = Record::new(Memory::ByKey, None);
        drop(record.enter(Some("k"), b"one").unwrap());
        assert!(record.enter(Some("k"), b"two").unwrap_err().contains("\"k\""));
    }

    #[test]
    fn what_turns_a_question_away_is_not_charged_for() {
        let faults = Faults { mix: "limited=0.5,failing=0.5".parse().unwrap(), seed: 1, scale: 1.0 };
        let record = Record::new(Memory::None, Some(faults));
        (0..50).for_each(|_| drop(record.enter(None, b"question").unwrap()));
        let tally = record.tally();
        assert_eq!((tally.billed, tally.faults.values().sum::<u64>()), (0, 50));
    }

    #[test]
    fn a_remembered_answer_keeps_its_flaw() {
        let faults = Faults { mix: "bad=1".parse().unwrap(), seed: 0, scale: 1.0 };
        let record = Record::new(Memory::ByKey, Some(faults));
        for number in 0..200 {
            let key = number.to_string();
            let fates: Vec<_> = (0..6).map(|_| record.enter(Some(&key), b"q").unwrap().fault).collect();
            let flaws: Vec<_> = fates.iter().filter(|fate| fate.is_none_or(Fault::is_of_the_answer)).collect();
            assert!(flaws.windows(2).all(|pair| pair[0] == pair[1]), "{fates:?}");
        }
    }
}
