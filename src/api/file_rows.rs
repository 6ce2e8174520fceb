//! A file's bytes, looked at on a thread of its own: making rows of them may take seconds of a core.

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc::{Receiver, channel};

use super::error::ApiError;
use crate::artifacts::ArtifactError;

/// Chunks that may wait for the thread.
const CHUNKS_WAITING: usize = 2;

/// What the thread found in the bytes, which are read here. It ends when this future is dropped, and may end sooner, when it
/// has seen enough.
pub async fn on_a_thread<T: Send + 'static>(
    mut bytes: impl Stream<Item = Result<Bytes, ArtifactError>> + Unpin,
    look: impl FnOnce(Receiver<Bytes>) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let (chunks, arriving) = channel(CHUNKS_WAITING);
    let thread = tokio::task::spawn_blocking(move || look(arriving));
    while let Some(chunk) = bytes.next().await {
        // A thread that takes no more has seen enough, or has panicked and says so below.
        if chunks.send(chunk?).await.is_err() {
            break;
        }
    }
    drop(chunks);
    thread.await.map_err(|error| ApiError::Internal(Box::new(error)))
}
