//! How whoever asks gets a student: it is there, or he stands in line for it.

use std::sync::Arc;

use super::super::entry::{Lent, LoadFailure, Measure};
use super::super::loading;
use super::super::{InferenceError, ModelFiles};
use super::{Books, Library};

/// A student in use: it stays in memory until this is dropped.
#[derive(Debug)]
pub(in super::super) struct InUse {
    library: Arc<Library>,
    /// What of it whoever uses it holds.
    pub lent: Lent,
}

/// Somebody who waits for a student. To be dropped while nobody has the books.
struct Asker<'a> {
    library: &'a Library,
    key: &'a str,
    failure: LoadFailure,
}

impl Library {
    /// What a student takes and reads, of one that is not in memory from its small files. Nobody has the books while those are read.
    pub fn measure(&self, model: &ModelFiles) -> Result<Measure, InferenceError> {
        if let Some(known) = self.known(model)? {
            return Ok(known);
        }
        let measured = loading::measure(model, self.device, self.precision);
        measured.inspect_err(|error| self.books().broken.remember(&model.key, error))
    }

    fn known(&self, model: &ModelFiles) -> Result<Option<Measure>, InferenceError> {
        let mut books = self.books();
        if books.is_stopped {
            return Err(InferenceError::Stopped);
        }
        match books.shelf.measure(&model.key) {
            Some(measure) => Ok(Some(measure)),
            None => books.broken.find(&model.key).map_or(Ok(None), Err),
        }
    }

    /// Waits until a student of this measure is in memory, and holds it there.
    pub async fn open(&self, model: &ModelFiles, measure: Measure) -> Result<InUse, InferenceError> {
        let mut asker = None;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            if let Some(found) = self.look(model, measure, &mut asker)? {
                return Ok(found);
            }
            changed.await;
        }
    }

    /// The student if it is ready; else `asker` stands in line for it.
    fn look<'a>(
        &'a self,
        model: &'a ModelFiles,
        measure: Measure,
        asker: &mut Option<Asker<'a>>,
    ) -> Result<Option<InUse>, InferenceError> {
        let mut books = self.books();
        if books.is_stopped {
            return Err(InferenceError::Stopped);
        }
        if let Some(lent) = books.shelf.begin_use(&model.key) {
            let library = self.me.upgrade().expect("whoever calls holds it");
            return Ok(Some(InUse { library, lent }));
        }
        match asker {
            Some(asker) => match asker.failure.get() {
                Some(error) => return Err(error.clone()),
                None if books.shelf.is_awaited(&model.key, &asker.failure) => {}
                // It came, was another's, and had to go before we looked.
                None => asker.failure = want(&mut books, model, measure)?,
            },
            None => {
                let failure = want(&mut books, model, measure)?;
                *asker = Some(Asker { library: self, key: &model.key, failure });
            }
        }
        if let Some(error) = books.shelf.crowds_out(&model.key) {
            return Err(error);
        }
        self.settle(&mut books);
        Ok(None)
    }
}

/// Stands in line, unless it is known already that the student cannot come.
fn want(books: &mut Books, model: &ModelFiles, measure: Measure) -> Result<LoadFailure, InferenceError> {
    books.broken.find(&model.key).map_or(Ok(()), Err)?;
    books.shelf.refuses(&model.key, measure.bytes).map_or(Ok(()), Err)?;
    Ok(books.shelf.want(model, measure))
}

impl Drop for InUse {
    /// Nobody who waits finds anything before a student that leaves is gone, which the device's thread tells.
    fn drop(&mut self) {
        let mut books = self.library.books();
        if books.shelf.end_use(&self.lent.model.key) {
            self.library.settle(&mut books);
        }
    }
}

impl Drop for Asker<'_> {
    fn drop(&mut self) {
        self.library.change(|shelf| shelf.unwant(self.key, &self.failure));
    }
}
