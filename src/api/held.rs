//! A response that keeps its places in the engine's queue until its end is on its way to the client, or the client has gone: whoever
//! reads slowly holds what he was given, so that answers do not pile up behind those who do not fetch them.

use async_stream::stream;
use axum::{
    body::{Body, Bytes, HttpBody},
    http::header,
    response::{IntoResponse, Response},
};
use futures::StreamExt;

use crate::inference::Places;

/// Bytes that are handed over at once. The server asks for the next ones when it has room for them, so that no more than it keeps
/// for a connection is given away before the client reads.
const PIECE_BYTES: usize = 16 << 10;

/// The response with the places. They are free when its body is dropped: after its last piece, or with the connection.
pub fn until_sent(places: Places, response: impl IntoResponse) -> Response {
    let (mut head, body) = response.into_response().into_parts();
    // A stream does not tell its length; the body knows it.
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let pieces = stream! {
        let mut whole = body.into_data_stream();
        while let Some(part) = whole.next().await {
            match part {
                Ok(mut part) => while let Some(piece) = next_piece(&mut part) {
                    yield Ok(piece);
                },
                Err(error) => yield Err(error),
            }
        }
        drop(places);
    };
    Response::from_parts(head, Body::from_stream(pieces))
}

fn next_piece(bytes: &mut Bytes) -> Option<Bytes> {
    (!bytes.is_empty()).then(|| bytes.split_to(bytes.len().min(PIECE_BYTES)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_in_pieces_and_none_is_lost() {
        let mut left = Bytes::from((0..=255).cycle().take(PIECE_BYTES * 2 + 1).collect::<Vec<u8>>());
        let whole = left.clone();
        let pieces: Vec<Bytes> = std::iter::from_fn(|| next_piece(&mut left)).collect();
        assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [PIECE_BYTES, PIECE_BYTES, 1]);
        assert_eq!(pieces.concat(), whole);
    }
}
