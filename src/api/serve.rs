//! From a listening socket to the last answer, and the way out.
//!
//! ```text
//! shutdown ──▶ for `notice` everybody is told and nobody is cut off: /readyz is 503, whoever asks a student gets 503 `draining`,
//!    │         every answer is its connection's last and says so
//! last call ─▶ connections that wait for nothing are closed; what runs, whenever it began, has `limit` to end
//!    │
//!  the end ──▶ when nothing runs any more, or at the limit, with a warning: the socket and whatever is left are closed
//! ```
//! The socket accepts to the end, so that who comes late is told where another server would be refused. Nothing here ends the process:
//! whoever shut it down does, and a second signal at once.

use std::time::Duration;

use axum::serve::Listener;
use tokio::{net::TcpListener, time};

use super::{AppState, connections::Connections, router};

/// How a service takes its leave: for so long, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// Everybody is told, however little runs.
    pub notice: Duration,
    /// What runs then may end.
    pub limit: Duration,
}

/// Answers requests until shutdown, then drains. A connection whose client takes nothing of its answer for `max_unread` is cut.
pub async fn serve(mut listener: TcpListener, state: AppState, max_unread: Duration, drain: Drain) {
    let shutdown = state.shutdown.clone();
    let connections = Connections::new(router(state), max_unread, shutdown.clone());
    tokio::select! {
        () = accept(&mut listener, &connections) => {}
        () = async { shutdown.cancelled().await; drained(&connections, drain).await } => {}
    }
    drop(listener);
    connections.cut().await;
}

/// Never ends: an error costs one connection.
async fn accept(listener: &mut TcpListener, connections: &Connections) {
    loop {
        let (stream, client) = Listener::accept(listener).await;
        connections.serve(stream, client);
    }
}

/// Until everybody was told, and nothing runs any more or the limit is reached.
async fn drained(connections: &Connections, Drain { notice, limit }: Drain) {
    time::sleep(notice).await;
    connections.last_call();
    if time::timeout(limit, connections.quiet()).await.is_err() {
        let connections_cut = connections.busy();
        tracing::warn!(connections_cut, "requests were still running {limit:?} after the last call; they are cut off");
    }
}
