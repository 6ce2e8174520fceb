//! Brings students into memory for whoever asks, each on a thread of its own, so that the device's thread goes on answering for
//! the others; and has them put away. Who comes and who goes is the shelf's to decide.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Instant;

use tch::Device;
use tokio::sync::Notify;

use super::broken::Broken;
use super::engine::Message;
use super::loading;
use super::metrics::EngineMetrics;
use super::place::{Failed, Loaded, Reads};
use super::shelf::{Order, Shelf, ShelfLimits};
use super::{InferenceError, ModelFiles};
use crate::domain::Precision;

/// The students of a device, shared by all who ask.
#[derive(Debug)]
pub(super) struct Library {
    me: Weak<Self>,
    device: Device,
    precision: Precision,
    to_thread: Sender<Message>,
    metrics: EngineMetrics,
    books: Mutex<Books>,
    /// Told when somebody who waits may find what he waits for.
    changed: Notify,
}

#[derive(Debug)]
struct Books {
    shelf: Shelf,
    broken: Broken,
    is_stopped: bool,
}

/// A student in use: it stays in memory until this is dropped.
#[derive(Debug)]
pub(super) struct InUse {
    library: Arc<Library>,
    key: String,
    /// What it reads.
    pub reads: Reads,
}

/// Somebody who waits for a student. To be dropped while nobody has the books.
struct Asker<'a> {
    library: &'a Library,
    key: &'a str,
    failed: Failed,
}

impl Library {
    /// An empty one, whose students go to the device's thread.
    pub fn new(
        (device, precision): (Device, Precision),
        limits: ShelfLimits,
        to_thread: Sender<Message>,
        metrics: EngineMetrics,
    ) -> Arc<Self> {
        let books = Mutex::new(Books { shelf: Shelf::new(limits), broken: Broken::default(), is_stopped: false });
        let changed = Notify::new();
        Arc::new_cyclic(|me| Self { me: me.clone(), device, precision, to_thread, metrics, books, changed })
    }

    /// Waits until a student is in memory, and holds it there.
    pub async fn open(&self, model: &Arc<ModelFiles>) -> Result<InUse, InferenceError> {
        let mut asker = None;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            if let Some(found) = self.look(model, &mut asker)? {
                return Ok(found);
            }
            changed.await;
        }
    }

    /// The student if it is ready; else `asker` stands in line for it.
    fn look<'a>(
        &'a self,
        model: &'a Arc<ModelFiles>,
        asker: &mut Option<Asker<'a>>,
    ) -> Result<Option<InUse>, InferenceError> {
        let mut books = self.books();
        if books.is_stopped {
            return Err(InferenceError::Stopped);
        }
        if let Some(reads) = books.shelf.begin_use(&model.key) {
            let library = self.me.upgrade().expect("whoever calls holds it");
            return Ok(Some(InUse { library, key: model.key.clone(), reads }));
        }
        match asker {
            Some(asker) => match asker.failed.get() {
                Some(error) => return Err(error.clone()),
                None if books.shelf.is_awaited(&model.key, &asker.failed) => {}
                // It came, was another's, and had to go before we looked.
                None => asker.failed = self.want(&mut books, model)?,
            },
            None => *asker = Some(Asker { library: self, key: &model.key, failed: self.want(&mut books, model)? }),
        }
        if let Some(error) = books.shelf.crowds_out(&model.key) {
            return Err(error);
        }
        self.settle(&mut books);
        Ok(None)
    }

    /// Stands in line, unless it is known already that the student cannot come. Its configuration is read with the books in
    /// hand: a small file.
    fn want(&self, books: &mut Books, model: &Arc<ModelFiles>) -> Result<Failed, InferenceError> {
        books.broken.find(&model.key).map_or(Ok(()), Err)?;
        let bytes = loading::expected_bytes(model, self.device, self.precision);
        let bytes = bytes.inspect_err(|error| books.broken.remember(&model.key, error))?;
        books.shelf.refuses(&model.key, bytes).map_or(Ok(()), Err)?;
        Ok(books.shelf.want(model, bytes))
    }

    /// Does what the shelf orders.
    fn settle(&self, books: &mut Books) {
        if books.is_stopped {
            return;
        }
        for order in books.shelf.settle() {
            match order {
                Order::Load(model) => self.begin_load(books, model),
                // A thread that has ended holds nothing.
                Order::PutAway(key) => drop(self.to_thread.send(Message::PutAway(key))),
            }
        }
    }

    fn begin_load(&self, books: &mut Books, model: Arc<ModelFiles>) {
        let Some(library) = self.me.upgrade() else { return };
        let key = model.key.clone();
        let begun = thread::Builder::new().name("load".to_owned()).spawn(move || library.load(&model));
        if let Err(error) = begun {
            books.shelf.failed(&key, InferenceError::Start(error.to_string()));
            self.changed.notify_waiters();
        }
    }

    /// Reads a student and gives it to the device's thread.
    fn load(&self, model: &ModelFiles) {
        let begun = Instant::now();
        let loaded = loading::load(model, self.device, self.precision);
        let seconds = begun.elapsed().as_secs_f64();
        let mut books = self.books();
        let loaded =
            loaded.and_then(|student| books.shelf.refuses(&model.key, student.bytes()).map_or(Ok(student), Err));
        self.metrics.loaded(loaded.is_ok(), seconds);
        match loaded {
            Ok(student) => {
                let (bytes, kind) = (student.bytes(), student.kind);
                tracing::info!(model = model.name, directory = %model.directory.display(), ?kind, bytes, seconds, "model loaded");
                let reads =
                    Reads { longest: student.card.max_input_length as usize, prefix: student.card.label_prefix.len() };
                // Before it is ready, so that no question comes before it. A thread that has ended takes neither.
                let _ = self.to_thread.send(Message::Shelve(model.key.clone(), Box::new(student)));
                books.shelf.loaded(&model.key, Loaded { bytes, reads });
                self.metrics.hold(&model.name, bytes, books.shelf.held());
            }
            Err(error) => {
                tracing::warn!(model = model.name, directory = %model.directory.display(), %error, "model not loaded");
                books.broken.remember(&model.key, &error);
                books.shelf.failed(&model.key, error);
            }
        }
        self.settle(&mut books);
        self.changed.notify_waiters();
    }

    /// The device's thread has put a student away.
    pub fn gone(&self, key: &str) {
        self.metrics.put_away();
        self.change(|shelf| {
            if let Some(name) = shelf.gone(key) {
                tracing::info!(model = name, "model put away");
                self.metrics.forget(&name, shelf.held());
            }
        });
    }

    /// A student's files are gone.
    pub fn forget(&self, key: &str) {
        self.change(|shelf| shelf.forget(key));
    }

    /// A student makes no room for others from now on.
    pub fn pin(&self, key: &str) {
        self.change(|shelf| shelf.pin(key));
    }

    /// No other students than these are pinned any more.
    pub fn unpin_all_but(&self, keys: &[&str]) {
        self.change(|shelf| shelf.unpin_all_but(keys));
    }

    /// Whether a student could answer at once.
    pub fn is_ready(&self, key: &str) -> bool {
        self.books().shelf.is_ready(key)
    }

    /// Nothing comes any more; whoever waits is told.
    pub fn close(&self) {
        self.books().is_stopped = true;
        self.changed.notify_waiters();
    }

    /// Closes, and waits for what is being read: a process that exits while libtorch computes may crash.
    pub async fn stop(&self) {
        self.close();
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.books().shelf.is_loading() {
                return;
            }
            changed.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut Shelf)) {
        let mut books = self.books();
        change(&mut books.shelf);
        self.settle(&mut books);
        self.changed.notify_waiters();
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.library.change(|shelf| shelf.end_use(&self.key));
    }
}

impl Drop for Asker<'_> {
    fn drop(&mut self) {
        self.library.change(|shelf| shelf.unwant(self.key, &self.failed));
    }
}
