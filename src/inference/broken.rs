//! Models that could not be loaded, so that not everybody who asks for one has it read again.

use std::time::{Duration, Instant};

use super::InferenceError;

/// A model that could not be loaded is not read again for so long: reading takes seconds of a processor that others need.
/// Changed files have another key, so a mended folder is read at once.
const BROKEN_FOR: Duration = Duration::from_secs(60);

/// Broken models that are remembered.
const MOST_BROKEN: usize = 64;

/// What could not be loaded, since when, and why; the newest last.
#[derive(Debug, Default)]
pub(super) struct Broken(Vec<(String, Instant, InferenceError)>);

impl Broken {
    /// Why this model could not be loaded a moment ago.
    pub fn find(&mut self, key: &str) -> Option<InferenceError> {
        self.0.retain(|(_, since, _)| since.elapsed() < BROKEN_FOR);
        self.0.iter().find(|(broken, ..)| broken == key).map(|(.., error)| error.clone())
    }

    /// Remembers it, unless it may pass: a lack of memory is not held against a model.
    pub fn remember(&mut self, key: &str, error: &InferenceError) {
        if !matches!(error, InferenceError::ModelBroken { .. }) {
            return;
        }
        if self.0.len() >= MOST_BROKEN {
            self.0.remove(0);
        }
        self.0.push((key.to_owned(), Instant::now(), error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_not_held_against_a_model() {
        let mut broken = Broken::default();
        broken.remember("a", &InferenceError::ModelDamaged { reason: "a bit".to_owned() });
        assert_eq!(broken.find("a"), None);
        for at in 0..=MOST_BROKEN {
            broken.remember(&at.to_string(), &InferenceError::ModelBroken { reason: at.to_string() });
        }
        assert_eq!((broken.find("0"), broken.find("1").is_some()), (None, true));
    }
}
