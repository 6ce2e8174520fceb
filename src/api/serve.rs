//! From a listening socket to the last answer, and the way out.
//!
//! ```text
//! shutdown ──▶ /readyz is 503; connections that wait for nothing are closed; whoever asks a student is told 503 `draining`,
//!    │         and every answer says that it is its connection's last (`draining`)
//!    │
//!    │  the socket goes on accepting: for `notice`, so that a load balancer is told and not cut off, and then until nothing
//!    │  runs any more; what still runs after `limit` is cut off
//!    ▼
//! the socket is closed
//! ```
//! Nothing here ends the process: whoever shut it down does, and a second signal at once.

use std::time::Duration;

use axum::serve::Listener;
use tokio::{net::TcpListener, time};

use super::{AppState, connections::Connections, router};

/// How a service takes its leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// How long it goes on accepting connections, however little runs.
    pub notice: Duration,
    /// How long requests that run may take to end.
    pub limit: Duration,
}

/// Answers requests until shutdown, then drains.
pub async fn serve(mut listener: TcpListener, state: AppState, drain: Drain) {
    let shutdown = state.shutdown.clone();
    let connections = Connections::new(router(state), shutdown.clone());
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

/// Until everybody was told, and nothing runs any more.
async fn drained(connections: &Connections, Drain { notice, limit }: Drain) {
    let ended = async {
        if time::timeout(limit, connections.quiet()).await.is_err() {
            let connections_cut = connections.busy();
            tracing::warn!(connections_cut, "requests were still running {limit:?} after the signal; they are cut off");
            connections.cut().await;
        }
    };
    tokio::join!(ended, time::sleep(notice));
}
