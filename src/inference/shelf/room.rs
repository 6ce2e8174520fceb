//! Who makes room for whom: the least recently used for those who want it, and none that is pinned.

use std::sync::Arc;

use super::super::InferenceError;
use super::super::entry::{Entry, Stage};
use super::{Order, Shelf};

impl Shelf {
    /// Why a student of so many bytes can never come, whatever else leaves; none where it can.
    pub fn refuses(&self, key: &str, bytes: u64) -> Option<InferenceError> {
        let pinned = self.entries.iter().filter(|entry| entry.is_pinned && entry.model.key != key);
        let (count, pinned) = pinned.fold((0, 0), |(count, sum), entry| (count + 1, sum + entry.measure.bytes));
        let has_room = self.limits.bytes.is_none_or(|most| pinned + bytes <= most) && count < self.limits.count;
        let most = self.limits.bytes.unwrap_or(u64::MAX);
        (!has_room).then_some(InferenceError::ModelTooLarge { bytes, most, pinned, count: self.limits.count })
    }

    /// Why a student that is wanted will not come: others were pinned meanwhile.
    pub fn crowds_out(&self, key: &str) -> Option<InferenceError> {
        let wanted = self.entry(key).filter(|entry| entry.stage == Stage::Wanted)?;
        self.refuses(key, wanted.measure.bytes)
    }

    /// What is to be done now. To be asked after every change.
    pub fn settle(&mut self) -> Vec<Order> {
        self.entries.retain(|entry| entry.stage != Stage::Wanted || entry.askers > 0);
        for entry in &mut self.entries {
            if entry.stage == Stage::Leaving {
                entry.stage = Stage::Ready;
            }
        }
        let mut orders = Vec::new();
        self.make_room(0, 0);
        while let Some(at) = self.entries.iter().position(|entry| entry.stage == Stage::Wanted) {
            let bytes = self.entries[at].measure.bytes;
            if !self.fits(bytes, 1, |stage| stage != Stage::Wanted) {
                self.make_room(bytes, 1);
                break;
            }
            self.entries[at].stage = Stage::Loading;
            orders.push(Order::Load(Arc::clone(&self.entries[at].model)));
        }
        orders.extend(self.put_away());
        orders
    }

    /// Lets students leave, the least recently used first, until so much more would fit beside those that stay.
    fn make_room(&mut self, bytes: u64, count: usize) {
        let stays = |stage| matches!(stage, Stage::Loading | Stage::Ready);
        while !self.fits(bytes, count, stays) {
            let may_leave = |entry: &&mut Entry| {
                entry.stage == Stage::Ready && !entry.is_pinned && (entry.used || entry.askers == 0)
            };
            let oldest = self.entries.iter_mut().filter(may_leave).min_by_key(|entry| entry.last_use);
            let Some(oldest) = oldest else { return };
            oldest.stage = Stage::Leaving;
        }
    }

    /// Whether so much more fits beside the students of some stages.
    fn fits(&self, bytes: u64, count: usize, counts: impl Fn(Stage) -> bool) -> bool {
        let counted = self.entries.iter().filter(|entry| counts(entry.stage));
        let (number, sum) = counted.fold((0, 0), |(number, sum), entry| (number + 1, sum + entry.measure.bytes));
        self.limits.bytes.is_none_or(|most| sum + bytes <= most) && number + count <= self.limits.count
    }

    /// Students that leave and that nobody uses any more.
    fn put_away(&mut self) -> Vec<Order> {
        let goes = |entry: &&mut Entry| {
            let leaves = entry.stage == Stage::Leaving || (entry.stage == Stage::Ready && entry.is_forgotten);
            leaves && entry.uses == 0
        };
        let go = |entry: &mut Entry| {
            entry.stage = Stage::Going;
            Order::PutAway(entry.model.key.clone())
        };
        self.entries.iter_mut().filter(goes).map(go).collect()
    }
}
