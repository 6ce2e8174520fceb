//! Replies with something wrong: what a fault makes of an answer on its way.

use std::{io, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};

use super::{
    faults::{Announced, Fault, Wish},
    record::Call,
    replies,
};
use crate::clock::Clock;

/// What a huge reply has.
const HUGE_BYTES: u64 = 100_000_000;
/// Time in which what was said leaves.
const FLUSH: Duration = Duration::from_millis(2);
const CHUNK: Bytes = Bytes::from_static(&[b' '; 1 << 16]);

/// The reply that turns a question away, where the fault does that.
pub(super) fn turned_away(fault: Fault, clock: &Clock) -> Option<Response> {
    let (status, wish) = match fault {
        Fault::Limited(wish) => (StatusCode::TOO_MANY_REQUESTS, Some(header_of(wish, clock))),
        Fault::Failing(status) => (StatusCode::from_u16(status).ok()?, None),
        _ => return None,
    };
    let message = format!("the script says {status}");
    let mut reply = (status, axum::Json(replies::error("scripted_fault", &message))).into_response();
    if let Some(wish) = wish {
        reply.headers_mut().insert(header::RETRY_AFTER, wish);
    }
    Some(reply)
}

/// A date has whole seconds: it is rounded down, so that none lasts longer than it was meant to.
fn header_of(wish: Wish, clock: &Clock) -> HeaderValue {
    let text = match wish {
        Wish::Seconds(seconds) => format!("{seconds:.3}"),
        Wish::Date(wait) => (clock.now() + wait).format("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        Wish::Absurd(text) => text.to_owned(),
    };
    HeaderValue::try_from(text).expect("numbers, dates and the absurd wishes are ASCII")
}

/// The body of a reply on whose way the fault happens. The call is under way until its last byte.
pub(super) fn body(fault: Fault, reply: Vec<u8>, call: Call) -> Response {
    let half = reply.len() / 2;
    match fault {
        Fault::Garbage => whole("<html><body>Bad gateway</body></html>"),
        Fault::Truncated => whole(reply[..half].to_vec()),
        Fault::NoChoices => whole(r#"{"id":"chatcmpl-scripted","object":"chat.completion","choices":[]}"#),
        Fault::Reset => {
            let parts = vec![Ok(Bytes::from(reply[..half].to_vec())), Err(io::Error::other("the script says so"))];
            // The first part must have left when the second breaks the connection.
            let parts = stream::iter(parts).then(|part| async {
                tokio::time::sleep(FLUSH).await;
                part
            });
            streamed(parts, call)
        }
        Fault::Trickle(pause) => streamed(trickle(reply, pause), call),
        Fault::Huge(announced) => huge(announced, call),
        _ => whole(reply),
    }
}

fn whole(body: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

fn streamed(parts: impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static, call: Call) -> Response {
    let parts = parts.map(move |part| {
        let _under_way = &call;
        part
    });
    whole(Body::from_stream(parts))
}

fn trickle(reply: Vec<u8>, pause: Duration) -> impl futures::Stream<Item = io::Result<Bytes>> {
    stream::iter(reply).then(move |byte| async move {
        tokio::time::sleep(pause).await;
        Ok(Bytes::from(vec![byte]))
    })
}

fn huge(announced: Announced, call: Call) -> Response {
    let chunks = usize::try_from(HUGE_BYTES / CHUNK.len() as u64).unwrap_or_default();
    let mut reply = streamed(stream::repeat_with(|| Ok(CHUNK)).take(chunks), call);
    if announced == Announced::Yes {
        reply.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(chunks as u64 * CHUNK.len() as u64));
    }
    reply
}
