//! The one who writes the ledger of an attempt: takes whatever waits, commits it in one transaction, and answers all who
//! wait for it. A task of its own, which no caller's end drops: what was said to it is committed. It outlasts outages of the
//! database, and while the database is away nobody is given leave to spend anything.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc::UnboundedReceiver, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::ledger::{Entry, Permission};
use crate::{
    domain::{Allowance, AnnotationSums, CallOutcome, Hand, NewCall, Reply, Tokens},
    store::{LedgerBatch, LedgerCommit},
    worker::{AttemptError, Hold, Stop},
};

/// Entries of one transaction, at most, and bytes of text after which it takes no more.
const MAX_ENTRIES: usize = 1000;
const MAX_BYTES: usize = 8 << 20;
/// Time between two looks at a budget whose last part another worker has reserved.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Gathers, commits, answers.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) hold: Hold,
    pub(super) hand: Hand,
    pub(super) allowance: Allowance,
    pub(super) inbox: UnboundedReceiver<Entry>,
    /// Says that no further call is to begin.
    ended: CancellationToken,
    /// Taken from the inbox and not yet committed.
    taken: VecDeque<Entry>,
    /// Calls that the budget has no room for until others are settled, the oldest first.
    waiting: VecDeque<(NewCall, oneshot::Sender<Permission>)>,
}

/// Who waits for a batch, in its order.
#[derive(Default)]
struct Waiters {
    verdicts: Vec<oneshot::Sender<()>>,
    wanted: Vec<(NewCall, oneshot::Sender<Option<Reply>>)>,
    begins: VecDeque<(NewCall, oneshot::Sender<Permission>)>,
}

impl Writer {
    pub(super) fn new(
        hold: Hold,
        hand: Hand,
        allowance: Allowance,
        inbox: UnboundedReceiver<Entry>,
        ended: CancellationToken,
    ) -> Self {
        Self { hold, hand, allowance, inbox, ended, taken: VecDeque::new(), waiting: VecDeque::new() }
    }

    /// Writes until all who could say something are gone, and ends the hand; what nobody waits for any more is then unknown.
    pub(super) async fn run(mut self) -> Result<(), AttemptError> {
        let written = self.write().await;
        let ended = self.hold.persist(|| self.hold.store.end_hand(self.hand)).await;
        written.and(ended)
    }

    async fn write(&mut self) -> Result<(), AttemptError> {
        while self.gather().await {
            let (batch, waiters) = self.batch();
            let commit = self.commit(batch).await?;
            self.answer(commit, waiters);
        }
        Ok(())
    }

    /// Waits for something to write. False at the end.
    async fn gather(&mut self) -> bool {
        if !self.taken.is_empty() {
            return true;
        }
        let mut entries = Vec::new();
        let more = self.inbox.recv_many(&mut entries, MAX_ENTRIES);
        let received = if self.waiting.is_empty() { more.await } else { timeout(LOOK_AGAIN, more).await.unwrap_or(1) };
        self.taken.extend(entries);
        received > 0
    }

    fn batch(&mut self) -> (LedgerBatch, Waiters) {
        let mut batch = LedgerBatch { allowance: self.allowance, ..LedgerBatch::default() };
        let mut waiters = Waiters { begins: std::mem::take(&mut self.waiting), ..Waiters::default() };
        let mut bytes = 0;
        while bytes < MAX_BYTES
            && let Some(entry) = self.taken.pop_front()
        {
            match entry {
                Entry::Settled(key, outcome) => {
                    bytes += size(&outcome);
                    batch.settled.push((key, outcome));
                }
                Entry::Verdict(verdict, done) => {
                    bytes += verdict.input.len() + verdict.raw_output.as_ref().map_or(0, String::len);
                    batch.verdicts.push(*verdict);
                    waiters.verdicts.push(done);
                }
                Entry::Wanted(call, found) => waiters.wanted.push((call, found)),
                Entry::Begin(call, begun) => waiters.begins.push_back((call, begun)),
            }
        }
        // Those who went away meanwhile send nothing.
        waiters.begins.retain(|(_, begun)| !begun.is_closed());
        batch.wanted = waiters.wanted.iter().map(|(call, _)| call.clone()).collect();
        batch.begins = waiters.begins.iter().map(|(call, _)| call.clone()).collect();
        (batch, waiters)
    }

    async fn commit(&self, batch: LedgerBatch) -> Result<LedgerCommit, AttemptError> {
        let (batch, repeated) = (Arc::new(batch), AtomicBool::new(false));
        let (store, hand) = (&self.hold.store, self.hand);
        let commit = || store.commit_ledger(hand, Arc::clone(&batch), repeated.swap(true, Ordering::Relaxed));
        self.hold.persist(commit).await
    }

    fn answer(&mut self, commit: LedgerCommit, mut waiters: Waiters) {
        let LedgerCommit { sums, requested, mut found, begun } = commit;
        // Whoever is gone needs no answer.
        for done in waiters.verdicts {
            let _ = done.send(());
        }
        for (call, wanted) in waiters.wanted {
            let _ = wanted.send(found.remove(&call.key));
        }
        for (call, granted) in waiters.begins.drain(..begun) {
            if granted.send(Permission::Granted).is_err() {
                let outcome = CallOutcome::Failed("it was not sent: the attempt had ended".to_owned());
                self.taken.push_back(Entry::Settled(call.key, outcome));
            }
        }
        // Whoever waits for room must not outlast the reason to stop: what is under way may never make any.
        match requested.map(Stop::from).or(self.hold.signal.stopped()) {
            Some(stop) => refuse(waiters.begins, || Permission::Stopping(stop)),
            None if self.ended.is_cancelled() => refuse(waiters.begins, || Permission::Ended),
            None if is_idle(&sums) => refuse(waiters.begins, || Permission::NoRoom(sums)),
            None => self.waiting = waiters.begins,
        }
    }
}

/// Whether nothing is under way whose settlement could make room.
fn is_idle(sums: &AnnotationSums) -> bool {
    sums.reserved == Tokens::default()
}

fn refuse(begins: VecDeque<(NewCall, oneshot::Sender<Permission>)>, answer: impl Fn() -> Permission) {
    begins.into_iter().for_each(|(_, begun)| drop(begun.send(answer())));
}

fn size(outcome: &CallOutcome) -> usize {
    match outcome {
        CallOutcome::Answered(reply) => reply.text.len(),
        CallOutcome::Failed(error) | CallOutcome::Unknown(error) => error.len(),
    }
}
