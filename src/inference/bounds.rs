//! How much an engine takes on: so many inputs, and so many tokens of inputs. What is more is refused at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bound on something that waits.
#[derive(Debug)]
pub(super) struct Bound {
    free: Arc<Semaphore>,
    most: u32,
}

/// A call's places in the queue: for its inputs and for their tokens. They are free when nothing is computed for the call any more
/// and whoever has its answers has let go of this: the end of a response, not of a computation, makes room for the next one.
#[derive(Debug, Clone)]
pub struct Places {
    _taken: Arc<[OwnedSemaphorePermit; 2]>,
}

impl Bound {
    /// Room for so much.
    pub fn new(most: usize) -> Self {
        let most = u32::try_from(most.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self { free: Arc::new(Semaphore::new(most as usize)), most }
    }

    /// Places for so much, if they are free. More than there are at all is taken when nothing else waits.
    pub fn take(&self, wanted: usize) -> Option<OwnedSemaphorePermit> {
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).min(self.most);
        Arc::clone(&self.free).try_acquire_many_owned(wanted).ok()
    }

    /// Places that are taken.
    pub fn taken(&self) -> usize {
        (self.most as usize).saturating_sub(self.free.available_permits())
    }
}

impl Places {
    /// What was taken for inputs and for tokens.
    pub(super) fn new(taken: [OwnedSemaphorePermit; 2]) -> Self {
        Self { _taken: Arc::new(taken) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_may_be_taken_again() {
        let bound = Bound::new(4);
        let first = bound.take(3).unwrap();
        assert!(bound.take(2).is_none() && bound.taken() == 3);
        drop(first);
        let all = bound.take(9).unwrap();
        assert!(bound.take(1).is_none());
        drop(all);
        assert_eq!(bound.taken(), 0);
    }

    #[test]
    fn places_are_free_when_the_last_who_holds_them_lets_go() {
        let bound = Bound::new(4);
        let places = Places::new([bound.take(1).unwrap(), bound.take(2).unwrap()]);
        let other = places.clone();
        drop(places);
        assert_eq!(bound.taken(), 3);
        drop(other);
        assert_eq!(bound.taken(), 0);
    }
}
