//! A model of the Hub for a job: brought where this machine lacks it, at the commit that the job's first attempt found.
//!
//! ```text
//! pinned? ── yes ─▶ that commit ────────────┐
//!    └────── no ──▶ what the revision means ┴▶ pin, fenced, before the bytes ─▶ download, told by events ─▶ train
//! ```
//! So a job that is taken up again trains from the same bytes though the branch has moved. A download that is stopped leaves
//! what it has; the next attempt on this machine goes on with it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Attempt, AttemptError, Worker};
use crate::{
    domain::HubId,
    hub::{Hub, Progress, Snapshot, Transfer},
    store::{EventLevel, NewEvent},
};

/// Time between two events of one download: an hour of it is some hundred rows.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// The model's files.
pub async fn bring(worker: &Worker, attempt: &Attempt, id: &HubId) -> Result<Snapshot, AttemptError> {
    let pinned = attempt.persist(|| attempt.store().hub_commit(attempt.job.id, id)).await?;
    let asked = pinned.map_or_else(|| id.clone(), |commit| id.at(&commit));
    let snapshot = Telling { attempt, id }.download(worker.registry.hub(), &asked).await?;
    attempt.persist(|| attempt.store().pin_hub_commit(attempt.lease, id, &snapshot.commit)).await?;
    Ok(snapshot)
}

/// What is said of a download.
struct Telling<'a> {
    attempt: &'a Attempt,
    id: &'a HubId,
}

impl Telling<'_> {
    /// Brings the model, if it is not here, and tells how far that is.
    async fn download(&self, hub: &Hub, asked: &HubId) -> Result<Snapshot, AttemptError> {
        let (begun, (progress, mut watched)) = (Instant::now(), watch::channel(None));
        let mut fetching = std::pin::pin!(hub.fetch(asked, &progress));
        let mut is_told = false;
        let snapshot = loop {
            tokio::select! {
                fetched = &mut fetching => break fetched?,
                () = begins(&mut watched), if !is_told => {
                    self.started(&progress).await?;
                    is_told = true;
                }
                () = tokio::time::sleep(TELL_EVERY), if is_told => self.going_on(&progress).await?,
            }
        };
        // A small one may be here before it was said to come.
        if !is_told {
            self.started(&progress).await?;
        }
        self.finished(&progress, begun.elapsed()).await?;
        Ok(snapshot)
    }

    async fn started(&self, progress: &Progress) -> Result<(), AttemptError> {
        let Some(Transfer { commit, files, total_bytes, .. }) = now(progress) else { return Ok(()) };
        let attempt = self.attempt;
        attempt.persist(|| attempt.store().pin_hub_commit(attempt.lease, self.id, &commit)).await?;
        let message = format!("{files} files of {} come, {} MB", self.id, megabytes(total_bytes));
        let data = json!({"model": self.id, "commit": commit, "files": files, "bytes": total_bytes});
        self.tell("download_started", message, data).await
    }

    async fn going_on(&self, progress: &Progress) -> Result<(), AttemptError> {
        let Some(Transfer { total_bytes, done_bytes, .. }) = now(progress) else { return Ok(()) };
        let message = format!("{} of {} MB of {} are here", megabytes(done_bytes), megabytes(total_bytes), self.id);
        let data = json!({"model": self.id, "bytes_done": done_bytes, "bytes": total_bytes});
        self.tell("download_progress", message, data).await
    }

    async fn finished(&self, progress: &Progress, time: Duration) -> Result<(), AttemptError> {
        let Some(Transfer { commit, received_bytes, .. }) = now(progress) else { return Ok(()) };
        let seconds = time.as_secs_f64();
        let message = format!("{} is here: {} MB in {seconds:.1} s", self.id, megabytes(received_bytes));
        let data = json!({"model": self.id, "commit": commit, "bytes": received_bytes, "seconds": seconds});
        self.tell("download_finished", message, data).await
    }

    async fn tell(&self, code: &str, message: String, data: Value) -> Result<(), AttemptError> {
        self.attempt.tell(NewEvent { level: EventLevel::Info, code: code.to_owned(), message, data }).await
    }
}

/// Waits until a download begins; one that brings nothing never does.
async fn begins(watched: &mut watch::Receiver<Option<Transfer>>) {
    drop(watched.wait_for(Option::is_some).await);
}

/// How far a download is; none where there is nothing to bring.
fn now(progress: &Progress) -> Option<Transfer> {
    progress.borrow().clone()
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}
