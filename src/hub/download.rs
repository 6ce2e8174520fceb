//! One file into the cache.

use std::path::Path;

use reqwest::{Response, StatusCode, header::CONTENT_RANGE};

use super::{Hub, HubError, Progress, cache::cache_error, incomplete::Incomplete, lock, remote::RemoteFile};
use crate::domain::{HubCommit, HubId};

/// Bytes that are gathered before they are written.
const CHUNK_BYTES: usize = 1 << 20;

/// A download's place and its teller.
pub struct Download<'a> {
    pub hub: &'a Hub,
    pub id: &'a HubId,
    pub commit: &'a HubCommit,
    pub progress: &'a Progress,
}

impl Download<'_> {
    /// Brings a file and gives it its name in the commit. Where another process brings the same one, waits for it.
    pub async fn bring(&self, file: &RemoteFile) -> Result<(), HubError> {
        let cache = &self.hub.cache;
        let blob = cache.blob(self.id, &file.digest);
        while !self.is_filled(&blob, file).await? {}
        cache.link(self.id, self.commit, &file.name, &file.digest)
    }

    /// Fills a blob up, if nobody has. What an earlier download left may turn out damaged: it is thrown away then, and
    /// nothing is filled yet.
    async fn is_filled(&self, blob: &Path, file: &RemoteFile) -> Result<bool, HubError> {
        let lock_file = self.hub.cache.lock_file(self.id, &file.digest);
        let lock = lock::acquire(&lock_file).await.map_err(cache_error(&lock_file))?;
        if blob.is_file() {
            self.count(file.bytes, 0);
            return Ok(true);
        }
        let incomplete = Incomplete::open(blob.to_owned(), file, lock).await?;
        let left = incomplete.bytes();
        self.count(left, 0);
        match self.complete(incomplete, file).await?.seal(blob, file).await {
            Err(HubError::Damaged { reason, .. }) if left > 0 => {
                tracing::warn!(
                    file = file.name,
                    reason,
                    "what an earlier download left is damaged; it is brought anew"
                );
                self.uncount(file.bytes);
                Ok(false)
            }
            sealed => sealed.map(|()| true),
        }
    }

    /// Asks for what is missing until nothing is. Only tries in a row that get no further count as failures.
    async fn complete(&self, mut incomplete: Incomplete, file: &RemoteFile) -> Result<Incomplete, HubError> {
        let (mut failures, mut furthest) = (0, incomplete.bytes());
        while incomplete.bytes() < file.bytes {
            let (now, ended) = self.ask(incomplete, file).await?;
            incomplete = now;
            if incomplete.bytes() > furthest {
                (failures, furthest) = (0, incomplete.bytes());
            }
            match ended {
                Ok(()) => {}
                Err(error) if error.is_outage() => {
                    failures += 1;
                    self.hub.remote.pause(failures, error).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(incomplete)
    }

    /// One request for the rest of the file. Returns what is there then, and how the request ended.
    async fn ask(
        &self,
        incomplete: Incomplete,
        file: &RemoteFile,
    ) -> Result<(Incomplete, Result<(), HubError>), HubError> {
        let from = incomplete.bytes();
        let response = match self.hub.remote.bytes(self.id, self.commit, &file.name, from).await {
            Ok(response) => response,
            Err(error) => return Ok((incomplete, Err(error))),
        };
        if from > 0 && !continues_at(&response, from) {
            // A server that heeds no range sends the whole, or nothing that can be used.
            self.uncount(from);
            let empty = incomplete.restart().await?;
            return if response.status() == StatusCode::OK {
                self.receive(empty, response, file).await
            } else {
                Ok((empty, Ok(())))
            };
        }
        self.receive(incomplete, response, file).await
    }

    /// Writes what comes, as far as it comes; never more than the file has.
    async fn receive(
        &self,
        mut incomplete: Incomplete,
        mut response: Response,
        file: &RemoteFile,
    ) -> Result<(Incomplete, Result<(), HubError>), HubError> {
        let mut gathered = Vec::with_capacity(CHUNK_BYTES);
        let ended = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => gathered.extend_from_slice(&chunk),
                Ok(None) => break Ok(()),
                Err(error) => break Err(self.hub.remote.unreachable(error)),
            }
            if incomplete.bytes() + gathered.len() as u64 > file.bytes {
                break Err(self.hub.remote.bad_reply(format!("{} has more bytes than it told", file.name)));
            }
            if gathered.len() >= CHUNK_BYTES {
                incomplete = self.write(incomplete, std::mem::take(&mut gathered)).await?;
            }
        };
        let ended = ended.and_then(|()| {
            // An honest server's stream ends with the file; another one is asked for the rest, but not for ever.
            let there = incomplete.bytes() + gathered.len() as u64;
            if there == file.bytes { Ok(()) } else { Err(self.cut_off(file, there)) }
        });
        if !matches!(ended, Err(HubError::BadReply { .. })) {
            incomplete = self.write(incomplete, gathered).await?;
        }
        Ok((incomplete, ended))
    }

    async fn write(&self, incomplete: Incomplete, bytes: Vec<u8>) -> Result<Incomplete, HubError> {
        let count = bytes.len() as u64;
        let incomplete = incomplete.append(bytes).await?;
        self.count(count, count);
        Ok(incomplete)
    }

    fn cut_off(&self, file: &RemoteFile, there: u64) -> HubError {
        HubError::CutOff { endpoint: self.hub.remote.endpoint(), file: file.name.clone(), there, bytes: file.bytes }
    }

    fn count(&self, done: u64, received: u64) {
        self.progress.send_modify(|transfer| {
            if let Some(transfer) = transfer {
                transfer.done_bytes += done;
                transfer.received_bytes += received;
            }
        });
    }

    fn uncount(&self, bytes: u64) {
        self.progress.send_modify(|transfer| {
            if let Some(transfer) = transfer {
                transfer.done_bytes = transfer.done_bytes.saturating_sub(bytes);
            }
        });
    }
}

/// Whether a response goes on where it was asked to.
fn continues_at(response: &Response, from: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
    response.status() == StatusCode::PARTIAL_CONTENT && range.starts_with(&format!("bytes {from}-"))
}
