//! Brings students into memory for whoever asks, each on a thread of its own, so that the device's thread goes on answering for
//! the others; and has them put away. Who comes and who goes is the shelf's to decide.

mod opening;

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Instant;

use tch::Device;
use tokio::sync::Notify;

pub(super) use self::opening::InUse;
use super::broken::Broken;
use super::inbox::Message;
use super::loading;
use super::metrics::EngineMetrics;
use super::shelf::{Order, Shelf, ShelfLimits};
use super::{InferenceError, ModelFiles};
use crate::device;
use crate::domain::ServingPrecision;

/// The students of a device, shared by all who ask.
#[derive(Debug)]
pub(super) struct Library {
    me: Weak<Self>,
    device: Device,
    precision: ServingPrecision,
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

impl Library {
    /// An empty one, whose students go to the device's thread.
    pub fn new(
        (device, precision): (Device, ServingPrecision),
        limits: ShelfLimits,
        to_thread: Sender<Message>,
        metrics: EngineMetrics,
    ) -> Arc<Self> {
        let books = Mutex::new(Books { shelf: Shelf::new(limits), broken: Broken::default(), is_stopped: false });
        let changed = Notify::new();
        Arc::new_cyclic(|me| Self { me: me.clone(), device, precision, to_thread, metrics, books, changed })
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
                let (bytes, arithmetic) = (student.bytes(), device::words_of_answers(self.precision, self.device));
                tracing::info!(model = model.name, directory = %model.directory.display(), arithmetic, bytes, seconds, "model loaded");
                // Before it is ready, so that no question comes before it. A thread that has ended takes neither.
                let _ = self.to_thread.send(Message::Shelve(model.key.clone(), Box::new(student)));
                books.shelf.loaded(&model.key, bytes, Arc::new(self.metrics.of(&model.name)));
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
