//! The connections of a service. While it drains, a connection is closed as soon as its request is answered, or at once where it
//! waits for the next one; one that has not asked anything yet is left open, since its request may be on its way.

use std::{net::SocketAddr, pin::pin, sync::Arc};

use axum::Router;
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpStream, sync::SetOnce};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tower::ServiceExt;

use crate::shutdown::Shutdown;

/// All connections of a listening socket.
pub struct Connections {
    router: Router,
    shutdown: Shutdown,
    /// Those that are open.
    open: TaskTracker,
    /// Those that have asked something: while the service drains, those that are answered.
    busy: TaskTracker,
    cut: CancellationToken,
}

/// Set by a connection's first request.
type Asked = Arc<SetOnce<TaskTrackerToken>>;

impl Connections {
    /// None yet. They are answered by the router, and take their leave after the shutdown.
    pub fn new(router: Router, shutdown: Shutdown) -> Self {
        let (open, busy) = (TaskTracker::new(), TaskTracker::new());
        open.close();
        busy.close();
        Self { router, shutdown, open, busy, cut: CancellationToken::new() }
    }

    /// Answers what comes over a connection, beside the others.
    pub fn serve(&self, stream: TcpStream, client: SocketAddr) {
        tracing::trace!(%client, "a client has connected");
        // Each piece of a stream goes out when it is written, not when the one before it is acknowledged. A socket that
        // refuses is a connection that is broken already.
        let _ = stream.set_nodelay(true);
        let (router, busy) = (self.router.clone(), self.busy.clone());
        let (shutdown, cut) = (self.shutdown.clone(), self.cut.clone());
        self.open.spawn(async move {
            tokio::select! {
                () = converse(stream, router, busy, shutdown) => {}
                () = cut.cancelled() => {}
            }
        });
    }

    /// While the service drains: how many connections are being answered.
    pub fn busy(&self) -> usize {
        self.busy.len()
    }

    /// While the service drains: waits until nobody is being answered.
    pub async fn quiet(&self) {
        self.busy.wait().await;
    }

    /// Closes all connections, whatever is being answered.
    pub async fn cut(&self) {
        self.cut.cancel();
        self.open.wait().await;
    }
}

async fn converse(stream: TcpStream, router: Router, busy: TaskTracker, shutdown: Shutdown) {
    let asked = Asked::default();
    let service = {
        let asked = Arc::clone(&asked);
        service_fn(move |request: Request<Incoming>| {
            if !asked.initialized() {
                // Two requests of one connection may be the first at once; one of them is.
                let _ = asked.set(busy.token());
            }
            router.clone().oneshot(request)
        })
    };
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let last = async {
        shutdown.cancelled().await;
        asked.wait().await;
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = last => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    // A client that breaks off, or talks nonsense, is no news.
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection broke off");
    }
}
