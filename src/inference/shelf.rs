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

use std::sync::Arc;

use super::place::{Failed, Loaded, Place, Reads, Stage};
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
    places: Vec<Place>,
    uses: u64,
}

impl Shelf {
    /// An empty one.
    pub fn new(limits: ShelfLimits) -> Self {
        Self { limits, places: Vec::new(), uses: 0 }
    }

    /// Whether a student could answer now.
    pub fn is_ready(&self, key: &str) -> bool {
        self.place(key).is_some_and(|place| place.stage == Stage::Ready)
    }

    /// Whether this is the student that somebody waits for, and not a later one of its key.
    pub fn is_awaited(&self, key: &str, failed: &Failed) -> bool {
        self.place(key).is_some_and(|place| Arc::ptr_eq(&place.failed, failed))
    }

    /// One more waits for a student, which takes so many bytes. What it shares tells of a load that fails.
    pub fn want(&mut self, model: &Arc<ModelFiles>, bytes: u64) -> Failed {
        if self.place(&model.key).is_none() {
            self.places.push(Place::wanted(model, bytes));
        }
        let place = self.place_mut(&model.key).expect("one was pushed in the lines above if there was none");
        place.askers += 1;
        Arc::clone(&place.failed)
    }

    /// One who waited does so no longer. It may be another's student of that key by now.
    pub fn unwant(&mut self, key: &str, failed: &Failed) {
        if let Some(place) = self.place_mut(key).filter(|place| Arc::ptr_eq(&place.failed, failed)) {
            place.askers -= 1;
        }
    }

    /// Begins a use of a student, if it is ready.
    pub fn begin_use(&mut self, key: &str) -> Option<Reads> {
        self.uses += 1;
        let uses = self.uses;
        let place = self.place_mut(key).filter(|place| place.stage == Stage::Ready)?;
        (place.uses, place.used, place.last_use) = (place.uses + 1, true, uses);
        Some(place.reads)
    }

    /// Ends a use.
    pub fn end_use(&mut self, key: &str) {
        if let Some(place) = self.place_mut(key) {
            place.uses -= 1;
        }
    }

    /// A student has come.
    pub fn loaded(&mut self, key: &str, loaded: Loaded) {
        self.uses += 1;
        let uses = self.uses;
        if let Some(place) = self.place_mut(key) {
            (place.stage, place.bytes, place.reads) = (Stage::Ready, loaded.bytes, loaded.reads);
            place.last_use = uses;
        }
    }

    /// A student cannot be loaded; who waits for it is told why.
    pub fn failed(&mut self, key: &str, error: InferenceError) {
        if let Some(place) = self.place_mut(key) {
            // It is said once: a place fails once, and is given up with it.
            let _ = place.failed.set(error);
        }
        self.gone(key);
    }

    /// A student is out of memory. Its name, unless another of that name is there: a folder that was changed.
    pub fn gone(&mut self, key: &str) -> Option<String> {
        let at = self.places.iter().position(|place| place.model.key == key)?;
        let name = self.places.remove(at).model.name.clone();
        let is_free = self.places.iter().all(|place| place.model.name != name);
        is_free.then_some(name)
    }

    /// Pins a student: it makes no room for others.
    pub fn pin(&mut self, key: &str) {
        if let Some(place) = self.place_mut(key) {
            place.is_pinned = true;
        }
    }

    /// No other students than these are pinned any more.
    pub fn unpin_all_but(&mut self, keys: &[&str]) {
        for place in &mut self.places {
            place.is_pinned &= keys.contains(&place.model.key.as_str());
        }
    }

    /// The files of a student are gone: it leaves as soon as nobody uses it.
    pub fn forget(&mut self, key: &str) {
        if let Some(place) = self.place_mut(key) {
            place.is_forgotten = true;
        }
    }

    /// Why a student of so many bytes can never come, whatever else leaves; none where it can.
    pub fn refuses(&self, key: &str, bytes: u64) -> Option<InferenceError> {
        let pinned = self.places.iter().filter(|place| place.is_pinned && place.model.key != key);
        let (count, pinned) = pinned.fold((0, 0), |(count, sum), place| (count + 1, sum + place.bytes));
        let has_room = self.limits.bytes.is_none_or(|most| pinned + bytes <= most) && count < self.limits.count;
        let most = self.limits.bytes.unwrap_or(u64::MAX);
        (!has_room).then_some(InferenceError::ModelTooLarge { bytes, most, pinned, count: self.limits.count })
    }

    /// Why a student that is wanted will not come: others were pinned meanwhile.
    pub fn crowds_out(&self, key: &str) -> Option<InferenceError> {
        let wanted = self.place(key).filter(|place| place.stage == Stage::Wanted)?;
        self.refuses(key, wanted.bytes)
    }

    /// Whether some student is being loaded.
    pub fn is_loading(&self) -> bool {
        self.places.iter().any(|place| place.stage == Stage::Loading)
    }

    /// Students in memory.
    pub fn held(&self) -> usize {
        let is_held = |place: &&Place| ![Stage::Wanted, Stage::Loading].contains(&place.stage);
        self.places.iter().filter(is_held).count()
    }

    /// What is to be done now. To be asked after every change.
    pub fn settle(&mut self) -> Vec<Order> {
        self.places.retain(|place| place.stage != Stage::Wanted || place.askers > 0);
        for place in &mut self.places {
            if place.stage == Stage::Leaving {
                place.stage = Stage::Ready;
            }
        }
        let mut orders = Vec::new();
        self.make_room(0, 0);
        while let Some(at) = self.places.iter().position(|place| place.stage == Stage::Wanted) {
            let bytes = self.places[at].bytes;
            if !self.fits(bytes, 1, |stage| stage != Stage::Wanted) {
                self.make_room(bytes, 1);
                break;
            }
            self.places[at].stage = Stage::Loading;
            orders.push(Order::Load(Arc::clone(&self.places[at].model)));
        }
        orders.extend(self.put_away());
        orders
    }

    /// Lets students leave, the least recently used first, until so much more would fit beside those that stay.
    fn make_room(&mut self, bytes: u64, count: usize) {
        let stays = |stage| matches!(stage, Stage::Loading | Stage::Ready);
        while !self.fits(bytes, count, stays) {
            let may_leave = |place: &&mut Place| {
                place.stage == Stage::Ready && !place.is_pinned && (place.used || place.askers == 0)
            };
            let oldest = self.places.iter_mut().filter(may_leave).min_by_key(|place| place.last_use);
            let Some(oldest) = oldest else { return };
            oldest.stage = Stage::Leaving;
        }
    }

    /// Whether so much more fits beside the students of some stages.
    fn fits(&self, bytes: u64, count: usize, counts: impl Fn(Stage) -> bool) -> bool {
        let counted = self.places.iter().filter(|place| counts(place.stage));
        let (number, sum) = counted.fold((0, 0), |(number, sum), place| (number + 1, sum + place.bytes));
        self.limits.bytes.is_none_or(|most| sum + bytes <= most) && number + count <= self.limits.count
    }

    /// Students that leave and that nobody uses any more.
    fn put_away(&mut self) -> Vec<Order> {
        let goes = |place: &&mut Place| {
            let leaves = place.stage == Stage::Leaving || (place.stage == Stage::Ready && place.is_forgotten);
            leaves && place.uses == 0
        };
        let go = |place: &mut Place| {
            place.stage = Stage::Going;
            Order::PutAway(place.model.key.clone())
        };
        self.places.iter_mut().filter(goes).map(go).collect()
    }

    fn place(&self, key: &str) -> Option<&Place> {
        self.places.iter().find(|place| place.model.key == key)
    }

    fn place_mut(&mut self, key: &str) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| place.model.key == key)
    }
}

#[cfg(test)]
#[path = "shelf_tests.rs"]
mod tests;
