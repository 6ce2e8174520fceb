//! The way to the ledger for those who ask: each says what it has and waits for the answer; the [`Writer`](super::writer)
//! gathers what all of them say and commits it together. What was said is written down even when who said it is gone.

use tokio::sync::{mpsc, oneshot};

use crate::{
    domain::{Annotation, AnnotationSums, CallKey, CallOutcome, NewCall, Reply},
    worker::Stop,
};

/// Something for the ledger.
#[derive(Debug)]
pub(super) enum Entry {
    /// What became of a call. Nobody waits: the verdict that rests on it comes later the same way.
    Settled(CallKey, CallOutcome),
    /// What becomes of an example.
    Verdict(Box<Annotation>, oneshot::Sender<()>),
    /// An answer that there may be already.
    Wanted(NewCall, oneshot::Sender<Option<Reply>>),
    /// A call to be sent.
    Begin(NewCall, oneshot::Sender<Permission>),
}

/// Whether a call may be sent.
#[derive(Debug)]
pub(super) enum Permission {
    /// It is written down: send it.
    Granted,
    /// The budget has no room for it, and nothing that is under way can make any.
    NoRoom(AnnotationSums),
    /// The job is to be paused or cancelled, or its worker ends.
    Stopping(Stop),
    /// No further call is to begin, for whatever reason.
    Ended,
}

/// The ledger is closed: its writer could not go on, and knows why.
#[derive(Debug)]
pub(super) struct Closed;

/// The asking side. It is closed when all clones are gone.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    entries: mpsc::UnboundedSender<Entry>,
}

impl Ledger {
    /// Both sides. The channel needs no bound: whoever asks waits for an answer before it asks more.
    pub(super) fn open() -> (Self, mpsc::UnboundedReceiver<Entry>) {
        let (entries, inbox) = mpsc::unbounded_channel();
        (Self { entries }, inbox)
    }

    /// Says what became of a call. Takes no time, so that no answer is lost between the network and here.
    pub(super) fn settle(&self, key: CallKey, outcome: CallOutcome) -> Result<(), Closed> {
        self.entries.send(Entry::Settled(key, outcome)).map_err(|_| Closed)
    }

    /// Commits a verdict with all that was said before it.
    pub(super) async fn decide(&self, verdict: Annotation) -> Result<(), Closed> {
        self.ask(|done| Entry::Verdict(Box::new(verdict), done)).await
    }

    /// The answer to an equal request, where there is one.
    pub(super) async fn reuse(&self, call: NewCall) -> Result<Option<Reply>, Closed> {
        self.ask(|found| Entry::Wanted(call, found)).await
    }

    /// Writes a call down before it is sent.
    pub(super) async fn begin(&self, call: NewCall) -> Result<Permission, Closed> {
        self.ask(|begun| Entry::Begin(call, begun)).await
    }

    async fn ask<T>(&self, entry: impl FnOnce(oneshot::Sender<T>) -> Entry) -> Result<T, Closed> {
        let (sender, answer) = oneshot::channel();
        self.entries.send(entry(sender)).map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }
}
