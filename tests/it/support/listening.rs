//! A server of the test's own, in its process.

use std::net::SocketAddr;

use axum::Router;
use tokio::net::TcpListener;

/// Serves these routes until the test's runtime ends; where it listens.
pub async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, router).await });
    address
}
