//! The connections of a service, and how each takes its leave once the service drains. No request that is on its way may find its
//! connection closed:
//!
//! - Over HTTP/1.1 a client cannot be told between two requests, so a connection is kept for whatever comes; its next answer is its last
//!   one and says so (`draining`). Only after the last call is one closed that waits for its next request.
//! - Over HTTP/2 it is told at once, by a frame (GOAWAY) after which it asks nothing more here, and what it asked before is answered.
//! - One that has not asked anything yet is left open to the end, since its request may be on its way.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, http::Version, response::Response};
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

use super::{gate::Peer, unread};
use crate::shutdown::Shutdown;

/// All connections of a listening socket.
pub struct Connections {
    answering: Answering,
    leave: Leave,
    /// Those that are open.
    open: TaskTracker,
    /// Those that have asked something: after the last call, those that are answered.
    busy: TaskTracker,
    cut: CancellationToken,
}

/// What answers on a connection, and how long its client may take nothing of an answer.
#[derive(Clone)]
struct Answering {
    router: Router,
    max_unread: Duration,
}

/// When connections are to end.
#[derive(Clone)]
struct Leave {
    shutdown: Shutdown,
    last_call: CancellationToken,
}

/// A connection that has asked something.
struct Asked {
    version: Version,
    _busy: TaskTrackerToken,
}

/// Set by a connection's first request.
type FirstRequest = Arc<SetOnce<Asked>>;

impl Connections {
    /// None yet. They are answered by the router, cut where nothing is read of an answer for so long, and take their leave after the
    /// shutdown.
    pub fn new(router: Router, max_unread: Duration, shutdown: Shutdown) -> Self {
        let (open, busy) = (TaskTracker::new(), TaskTracker::new());
        open.close();
        busy.close();
        let leave = Leave { shutdown, last_call: CancellationToken::new() };
        let answering = Answering { router, max_unread };
        Self { answering, leave, open, busy, cut: CancellationToken::new() }
    }

    /// Answers what comes over a connection, beside the others.
    pub fn serve(&self, stream: TcpStream, client: SocketAddr) {
        tracing::trace!(%client, "a client has connected");
        // Each piece of a stream goes out when it is written, not when the one before it is acknowledged. A socket that
        // refuses is a connection that is broken already.
        let _ = stream.set_nodelay(true);
        let (answering, busy) = (self.answering.clone(), self.busy.clone());
        let (leave, cut) = (self.leave.clone(), self.cut.clone());
        self.open.spawn(async move {
            tokio::select! {
                () = converse(stream, Peer(client.ip()), answering, busy, leave) => {}
                () = cut.cancelled() => {}
            }
        });
    }

    /// From now on each connection ends with the answer that it gets, or at once where it waits for the next request.
    pub fn last_call(&self) {
        self.leave.last_call.cancel();
    }

    /// After the last call: how many connections are being answered.
    pub fn busy(&self) -> usize {
        self.busy.len()
    }

    /// After the last call: waits until nobody is being answered.
    pub async fn quiet(&self) {
        self.busy.wait().await;
    }

    /// Closes all connections, whatever is being answered.
    pub async fn cut(&self) {
        self.cut.cancel();
        self.open.wait().await;
    }
}

impl Answering {
    async fn answer(self, request: Request<Incoming>) -> Result<Response, Infallible> {
        let is_alone = request.version() < Version::HTTP_2;
        let response = self.router.oneshot(request).await?;
        // An answer that is alone on its connection is bounded with it.
        Ok(if is_alone { response } else { unread::broken_off_after(self.max_unread, response) })
    }
}

impl Leave {
    /// Waits until a connection is to end after what it is answering.
    async fn due(&self, first: &SetOnce<Asked>) {
        self.shutdown.cancelled().await;
        if first.wait().await.version < Version::HTTP_2 {
            self.last_call.cancelled().await;
        }
    }
}

async fn converse(stream: TcpStream, peer: Peer, answering: Answering, busy: TaskTracker, leave: Leave) {
    let (first, max_unread) = (FirstRequest::default(), answering.max_unread);
    let service = {
        let first = Arc::clone(&first);
        service_fn(move |mut request: Request<Incoming>| {
            if !first.initialized() {
                // Two requests of one connection may be the first at once; one of them is.
                let _ = first.set(Asked { version: request.version(), _busy: busy.token() });
            }
            request.extensions_mut().insert(peer);
            answering.clone().answer(request)
        })
    };
    let builder = auto::Builder::new(TokioExecutor::new());
    let stream = TokioIo::new(unread::cut_after(max_unread, stream));
    let mut connection = pin!(builder.serve_connection(stream, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = leave.due(&first) => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    // A client that breaks off, or talks nonsense, is no news.
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection broke off");
    }
}
