//! Which students are in memory, which are wanted there, and which make room: bookkeeping alone, without files and threads.
//!
//! ```text
//! (absent) ─ want ─▶ Wanted ─ settle: there is room ─▶ Loading ─ loaded ─▶ Ready ─ settle: others want its room ─▶ Leaving
//!     ▲                                                   │                 ▲                                        │
//!     └────────────────────── failed ─────────────────────┘                 └──── settle: nobody wants it any more ──┤
//!     └────────────────────────── gone ──────── Going ◀──────────── settle: its last question is answered ───────────┘
//! ```
//! Whoever wants a student first gets it first. A student that leaves takes no new question, so that steady traffic for one
//! does not keep another out for ever; whoever asks for it then wants it anew. Bytes are counted from `Loading` to `gone`.

mod room;

use std::sync::Arc;

use super::entry::{Entry, Lent, LoadFailure, Measure, Stage};
use super::metrics::ModelMetrics;
use super::{InferenceError, ModelFiles};

/// What the shelf has room for.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShelfLimits {
    /// Bytes of all students together; none: whatever the device takes.
    pub bytes: Option<u64>,
    /// Students.
    pub count: usize,
}

/// What is to be done about a student.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Load(Arc<ModelFiles>),
    PutAway(String),
}

/// The students and those who want them.
#[derive(Debug)]
pub(super) struct Shelf {
    limits: ShelfLimits,
    /// In the order in which they were wanted.
    entries: Vec<Entry>,
    uses: u64,
}

impl Shelf {
    /// An empty one.
    pub fn new(limits: ShelfLimits) -> Self {
        Self { limits, entries: Vec::new(), uses: 0 }
    }

    /// Whether a student could answer now.
    pub fn is_ready(&self, key: &str) -> bool {
        self.entry(key).is_some_and(|entry| entry.stage == Stage::Ready)
    }

    /// Whether this is the student that somebody waits for, and not a later one of its key.
    pub fn is_awaited(&self, key: &str, failure: &LoadFailure) -> bool {
        self.entry(key).is_some_and(|entry| Arc::ptr_eq(&entry.failure, failure))
    }

    /// What a student that is here, or on its way, takes and reads.
    pub fn measure(&self, key: &str) -> Option<Measure> {
        self.entry(key).map(|entry| entry.measure)
    }

    /// One more waits for a student of this measure. What it shares tells of a load that fails.
    pub fn want(&mut self, model: &ModelFiles, measure: Measure) -> LoadFailure {
        if self.entry(&model.key).is_none() {
            self.entries.push(Entry::wanted(model, measure));
        }
        let entry = self.entry_mut(&model.key).expect("one was pushed in the lines above if there was none");
        entry.askers += 1;
        Arc::clone(&entry.failure)
    }

    /// One who waited does so no longer. It may be another's student of that key by now.
    pub fn unwant(&mut self, key: &str, failure: &LoadFailure) {
        if let Some(entry) = self.entry_mut(key).filter(|entry| Arc::ptr_eq(&entry.failure, failure)) {
            entry.askers -= 1;
        }
    }

    /// Begins a use of a student, if it is ready.
    pub fn begin_use(&mut self, key: &str) -> Option<Lent> {
        self.uses += 1;
        let uses = self.uses;
        let entry = self.entry_mut(key).filter(|entry| entry.stage == Stage::Ready)?;
        (entry.uses, entry.used, entry.last_use) = (entry.uses + 1, true, uses);
        Some(Lent { model: Arc::clone(&entry.model), metrics: entry.metrics.clone()? })
    }

    /// Ends a use; whether it was the last one, which a student that leaves waits for.
    pub fn end_use(&mut self, key: &str) -> bool {
        let Some(entry) = self.entry_mut(key) else { return false };
        entry.uses -= 1;
        entry.uses == 0
    }

    /// A student has come, and takes so many bytes.
    pub fn loaded(&mut self, key: &str, bytes: u64, metrics: Arc<ModelMetrics>) {
        self.uses += 1;
        let uses = self.uses;
        if let Some(entry) = self.entry_mut(key) {
            (entry.stage, entry.measure.bytes, entry.last_use) = (Stage::Ready, bytes, uses);
            entry.metrics = Some(metrics);
        }
    }

    /// A student cannot be loaded; who waits for it is told why.
    pub fn failed(&mut self, key: &str, error: InferenceError) {
        if let Some(entry) = self.entry_mut(key) {
            // It is said once: an entry fails once, and is given up with it.
            let _ = entry.failure.set(error);
        }
        self.gone(key);
    }

    /// A student is out of memory. Its name, unless another of that name is in memory: a folder that was changed. One that has yet to
    /// come may never do.
    pub fn gone(&mut self, key: &str) -> Option<String> {
        let at = self.entries.iter().position(|entry| entry.model.key == key)?;
        let name = self.entries.remove(at).model.name.clone();
        let is_free = self.entries.iter().filter(|entry| entry.is_held()).all(|entry| entry.model.name != name);
        is_free.then_some(name)
    }

    /// Pins a student: it makes no room for others.
    pub fn pin(&mut self, key: &str) {
        if let Some(entry) = self.entry_mut(key) {
            entry.is_pinned = true;
        }
    }

    /// No other students than these are pinned any more.
    pub fn unpin_all_but(&mut self, keys: &[&str]) {
        for entry in &mut self.entries {
            entry.is_pinned &= keys.contains(&entry.model.key.as_str());
        }
    }

    /// The files of a student are gone: it leaves as soon as nobody uses it.
    pub fn forget(&mut self, key: &str) {
        if let Some(entry) = self.entry_mut(key) {
            entry.is_forgotten = true;
        }
    }

    /// Whether some student is being loaded.
    pub fn is_loading(&self) -> bool {
        self.entries.iter().any(|entry| entry.stage == Stage::Loading)
    }

    /// Students in memory.
    pub fn held(&self) -> usize {
        self.entries.iter().filter(|entry| entry.is_held()).count()
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.model.key == key)
    }

    fn entry_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.model.key == key)
    }
}

#[cfg(test)]
mod tests;
