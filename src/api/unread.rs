//! Clients that ask and do not read. What an answer holds (places in the engine's queue, a student in memory, rows that are being
//! written) is free when its reader takes nothing of it for a while: a write that waits so long fails, and with it the connection. In
//! HTTP/2 a client may go on reading its connection and leave one answer lying; such an answer is broken off by itself.
//!
//! The bound is on silence, not on the whole: who reads slowly gets all of it.

use std::{io, pin::Pin, time::Duration};

use async_stream::stream;
use axum::{
    body::{Body, Bytes, HttpBody},
    http::header,
    response::Response,
};
use futures::StreamExt;
use tokio::{sync::mpsc, time::timeout};
use tokio_io_timeout::TimeoutWriter;

/// A piece of an answer; none: it was whole with the one before.
type Piece = Option<Result<Bytes, axum::Error>>;

/// The stream, whose writes fail where the other side takes no byte for so long.
pub fn cut_after<S: tokio::io::AsyncWrite>(limit: Duration, stream: S) -> Pin<Box<TimeoutWriter<S>>> {
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(limit));
    Box::pin(stream)
}

/// The response, which is broken off and let go of where nobody asks for its next piece for so long.
pub fn broken_off_after(limit: Duration, response: Response) -> Response {
    if response.body().is_end_stream() {
        return response;
    }
    let (mut head, body) = response.into_parts();
    // A stream does not tell its length; the body knows it.
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let (to_reader, pieces) = mpsc::channel(1);
    tokio::spawn(hand_over(body, to_reader, limit));
    Response::from_parts(head, Body::from_stream(until_whole(pieces)))
}

/// The body is dropped with the return, and with it what it holds.
async fn hand_over(body: Body, to_reader: mpsc::Sender<Piece>, limit: Duration) {
    let mut body = body.into_data_stream();
    loop {
        let piece = tokio::select! {
            piece = body.next() => piece,
            () = to_reader.closed() => return,
        };
        let is_last = piece.is_none();
        let taken = timeout(limit, to_reader.send(piece)).await;
        if is_last || !matches!(taken, Ok(Ok(()))) {
            return;
        }
    }
}

/// What comes before the end; where there is none, an error, so that nobody takes a part for the whole.
fn until_whole(mut pieces: mpsc::Receiver<Piece>) -> impl futures::Stream<Item = io::Result<Bytes>> {
    stream! {
        loop {
            match pieces.recv().await {
                Some(Some(piece)) => yield piece.map_err(io::Error::other),
                Some(None) => break,
                None => {
                    yield Err(io::Error::new(io::ErrorKind::TimedOut, "nobody has read the answer"));
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use futures::stream::{self, TryStreamExt};

    use super::*;

    /// A response of so many pieces that holds something until it is dropped.
    fn holding(held: mpsc::Sender<()>, pieces: u8) -> Response {
        let pieces = stream::iter((0..pieces).map(|piece| Ok::<_, io::Error>(Bytes::from(vec![piece]))));
        Body::from_stream(pieces.inspect_ok(move |_| assert!(!held.is_closed()))).into_response()
    }

    #[tokio::test]
    async fn what_nobody_asks_for_is_let_go_of_and_not_taken_for_the_whole() {
        let (held, mut freed) = mpsc::channel(1);
        let mut body = broken_off_after(Duration::from_millis(1), holding(held, 9)).into_body().into_data_stream();
        assert_eq!(freed.recv().await, None, "it is let go of");
        // The first piece was on its way.
        assert_eq!(body.next().await.unwrap().unwrap(), [0].as_slice());
        assert!(body.next().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn what_is_read_comes_whole_with_its_length_and_what_is_dropped_is_let_go_of() {
        let limit = Duration::from_secs(3600);
        let (held, mut freed) = mpsc::channel(1);
        let body = broken_off_after(limit, holding(held, 9)).into_body();
        assert_eq!(axum::body::to_bytes(body, 100).await.unwrap(), (0..9).collect::<Vec<u8>>());
        assert_eq!(freed.recv().await, None);
        let response = broken_off_after(limit, "whole".into_response());
        assert_eq!(response.headers()[header::CONTENT_LENGTH], "5");
        let (held, mut freed) = mpsc::channel::<()>(1);
        let endless = stream::pending::<io::Result<Bytes>>().inspect_ok(move |_| assert!(!held.is_closed()));
        drop(broken_off_after(limit, Body::from_stream(endless).into_response()));
        assert_eq!(freed.recv().await, None);
    }
}
