//! What a process lacks before it is ready for the first time.

use std::sync::{Mutex, PoisonError};

/// Something that is missing, in words, until a look finds that it is there. Then it stays there: what goes wrong later is told where
/// it happens, and takes nobody out of service who answers others.
#[derive(Debug)]
pub struct Missing(Mutex<Option<String>>);

impl Missing {
    /// What nobody has looked at yet, in words; none where nothing is needed.
    pub fn new(words: Option<String>) -> Self {
        Self(Mutex::new(words))
    }

    /// What is missing.
    pub fn words(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a look has found to be at fault, if anything.
    pub fn found(&self, fault: Option<String>) {
        let mut missing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *missing = missing.take().and(fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_once_is_not_missing_any_more() {
        let missing = Missing::new(Some("not looked yet".to_owned()));
        assert_eq!(missing.words().unwrap(), "not looked yet");
        missing.found(Some("broken".to_owned()));
        assert_eq!(missing.words().unwrap(), "broken");
        for fault in [None, Some("broken".to_owned())] {
            missing.found(fault);
            assert_eq!(missing.words(), None);
        }
    }
}
