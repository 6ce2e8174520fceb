//! What the names of models meant a moment ago, so that not every question has to ask the database which model is meant.
//!
//! ```text
//! changed by this process (an alias moves, a model is deleted)   forgotten at once, also by who is looking just then
//! changed by another process                                     forgotten after `FOR`
//! a folder below `models_dir`                                    looked at each time: that costs nothing
//! a name that means nothing                                      never remembered: it may be made at any moment
//! ```

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{ProjectState, error::ApiError, models};
use crate::domain::{ProjectId, StudentSource};

/// How long another process's change may go unseen.
const FOR: Duration = Duration::from_secs(1);
/// Names that are remembered.
const MOST: usize = 1024;

/// The names that were asked for of late.
#[derive(Debug, Default)]
pub struct Names(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By whose they are and what they are called.
    sources: HashMap<(ProjectId, String), (Instant, StudentSource)>,
    /// Counts what was changed: who began to look before a change has seen what was before it.
    changes: u64,
}

impl Names {
    /// The model of this name, or a refusal that says what is there.
    pub async fn find(&self, state: &ProjectState, name: &str) -> Result<StudentSource, ApiError> {
        if let Some(folder) = state.registry.folder(name) {
            return Ok(folder);
        }
        let asked = (state.project, name.to_owned());
        let (known, changes) = self.with(|known| (known.find(&asked, Instant::now()), known.changes));
        if let Some(source) = known.filter(is_there) {
            return Ok(source);
        }
        let began = Instant::now();
        let source = models::find(state, name).await?;
        self.with(|known| known.remember(asked, &source, (began, changes)));
        Ok(source)
    }

    /// To be held by whoever changes what names mean, while they do: everything is forgotten when they have, and also where their
    /// client leaves them in the midst of it, and the change is made all the same. A change that the database makes only after its
    /// client has gone is seen like another process's.
    #[must_use = "what is remembered is forgotten when this is dropped"]
    pub fn change(&self) -> Change<'_> {
        Change(self)
    }

    fn with<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A change of what names mean.
pub struct Change<'a>(&'a Names);

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.with(Known::forget);
    }
}

impl Known {
    fn find(&self, name: &(ProjectId, String), now: Instant) -> Option<StudentSource> {
        let (since, source) = self.sources.get(name)?;
        (now.saturating_duration_since(*since) < FOR).then(|| source.clone())
    }

    /// What was found by one who began to look at that time, after so many changes.
    fn remember(&mut self, name: (ProjectId, String), source: &StudentSource, (began, changes): (Instant, u64)) {
        if changes != self.changes {
            return;
        }
        if self.sources.len() >= MOST {
            self.sources.clear();
        }
        self.sources.insert(name, (began, source.clone()));
    }

    fn forget(&mut self) {
        self.changes += 1;
        self.sources.clear();
    }
}

/// Whether the folder that an alias points to is still there; other models are looked for when they are opened.
fn is_there(source: &StudentSource) -> bool {
    !matches!(source, StudentSource::Directory { path, .. } if !path.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str) -> StudentSource {
        StudentSource::Directory { name: name.to_owned(), path: name.into() }
    }

    fn named(name: usize) -> (ProjectId, String) {
        (ProjectId(uuid::Uuid::nil()), name.to_string())
    }

    fn live(project: u128) -> (ProjectId, String) {
        (ProjectId(uuid::Uuid::from_u128(project)), "live".to_owned())
    }

    #[test]
    fn a_name_is_remembered_for_its_project_alone() {
        let (mut known, began) = (Known::default(), Instant::now());
        known.remember(live(1), &source("desk-1"), (began, 0));
        assert_eq!(known.find(&live(2), began), None);
        assert_eq!(known.find(&live(1), began), Some(source("desk-1")));
    }

    #[test]
    fn what_a_name_means_is_remembered_for_a_moment() {
        let (mut known, began) = (Known::default(), Instant::now());
        known.remember(live(1), &source("desk-1"), (began, 0));
        let found = |known: &Known, after| known.find(&live(1), began + after);
        assert_eq!(found(&known, FOR / 2), Some(source("desk-1")));
        assert_eq!(found(&known, FOR), None);
        known.forget();
        assert_eq!(found(&known, Duration::ZERO), None);
    }

    #[tokio::test]
    async fn a_change_that_its_client_leaves_is_forgotten_for_as_well() {
        let (names, began) = (Names::default(), Instant::now());
        names.with(|known| known.remember(live(1), &source("desk-1"), (began, 0)));
        let knows = || names.with(|known| known.find(&live(1), began).is_some());
        let mut changing = Box::pin(async {
            let _change = names.change();
            std::future::pending::<()>().await;
        });
        assert!(futures::poll!(&mut changing).is_pending() && knows());
        drop(changing);
        assert!(!knows());
    }

    #[test]
    fn what_was_looked_up_before_a_change_is_not_remembered_after_it() {
        let (mut known, began) = (Known::default(), Instant::now());
        let changes = known.changes;
        known.forget();
        known.remember(live(1), &source("desk-1"), (began, changes));
        assert_eq!(known.find(&live(1), began), None);
    }

    #[test]
    fn the_names_that_are_remembered_are_bounded() {
        let (mut known, began) = (Known::default(), Instant::now());
        for name in 0..=MOST {
            known.remember(named(name), &source("desk-1"), (began, 0));
            assert!(known.sources.len() <= MOST);
        }
        assert_eq!(known.find(&named(MOST), began), Some(source("desk-1")));
    }
}
