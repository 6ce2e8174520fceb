//! From a listening socket to the last answer.

use std::{io, time::Duration};

use tokio::net::TcpListener;

use super::{AppState, router};
use crate::shutdown::Shutdown;

/// How long requests in flight may take to end once the process is to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// Answers requests until shutdown, then lets those in flight end, for half a minute at most.
///
/// # Errors
/// When the socket fails.
pub async fn serve(listener: TcpListener, state: AppState, shutdown: Shutdown) -> io::Result<()> {
    let served = axum::serve(listener, router(state)).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let cut_off = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        result = async { served.await } => result,
        () = cut_off => {
            tracing::warn!("requests were still running after {DRAIN:?}; they are cut off");
            Ok(())
        }
    }
}

/// Does the first forward pass, so that the first client need not wait for it. `/readyz` tries again if it fails.
pub async fn warm_up(state: AppState) {
    if let Err(error) = state.warm_up().await {
        tracing::error!(%error, "the inference engine does not work");
    }
}
