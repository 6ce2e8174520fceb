//! A survey beside a stream: the bytes go to a thread of their own, so that neither parsing nor sorting holds up others,
//! and whoever sends faster than it reads waits.

use std::{io, path::PathBuf};

use bytes::Bytes;
use futures::StreamExt;
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinHandle,
};

use super::{Surveyed, Surveyor, fingerprint_key};
use crate::{
    artifacts::{ArtifactError, Artifacts},
    domain::Validation,
    task::lines::{SNIPPET_BYTES, snippet},
};

/// Chunks that may wait for the thread.
const CHUNKS_WAITING: usize = 4;

/// Why a survey came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The disk for what does not fit into memory.
    #[error("the scratch folder failed")]
    Scratch(#[source] io::Error),
    /// The file's own bytes, or its fingerprint's.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The thread panicked.
    #[error("the survey broke off")]
    BrokeOff(#[source] tokio::task::JoinError),
}

/// A survey under way.
#[derive(Debug)]
pub struct Survey {
    chunks: Sender<Bytes>,
    thread: JoinHandle<io::Result<Surveyed>>,
}

impl Survey {
    /// Begins; what does not fit into memory goes into `folder`.
    pub fn begin(folder: PathBuf) -> Self {
        let (chunks, arriving) = channel(CHUNKS_WAITING);
        Self { chunks, thread: tokio::task::spawn_blocking(move || survey(&folder, arriving)) }
    }

    /// Hands over the next bytes. A survey that has failed takes no more, and says why at its end.
    pub async fn push(&self, bytes: Bytes) {
        let _ = self.chunks.send(bytes).await;
    }

    /// Ends the file.
    pub async fn finish(self) -> Result<Surveyed, SurveyError> {
        drop(self.chunks);
        self.thread.await.map_err(SurveyError::BrokeOff)?.map_err(SurveyError::Scratch)
    }
}

fn survey(folder: &std::path::Path, mut chunks: Receiver<Bytes>) -> io::Result<Surveyed> {
    std::fs::create_dir_all(folder)?;
    let mut surveyor = Surveyor::new(folder);
    while let Some(chunk) = chunks.blocking_recv() {
        surveyor.push(&chunk)?;
    }
    surveyor.finish()
}

impl Surveyed {
    /// Stores the fingerprint beside the stored file, and fills in what errors show of lines that passed by long ago.
    pub async fn store(self, artifacts: &Artifacts, key: &str) -> Result<Validation, SurveyError> {
        let Self { mut validation, unread, fingerprint } = self;
        for (index, offset) in unread {
            let window = offset..offset + SNIPPET_BYTES as u64;
            let mut bytes = artifacts.read_range(key, window).await?;
            let mut line = Vec::new();
            while let Some(chunk) = bytes.next().await {
                line.extend_from_slice(&chunk?);
            }
            let end = line.iter().position(|&byte| byte == b'\n').unwrap_or(line.len());
            validation.errors[index].snippet = snippet(line[..end].trim_ascii());
        }
        artifacts.put_file(&fingerprint_key(key), fingerprint.path()).await?;
        Ok(validation)
    }
}
