//! The bytes of a reply, as far as an honest server would send them: no more than a cap, and no slower than a trickle.
//! How long the teacher thinks before it answers is not looked at here; the call's deadline covers that.

use std::time::Duration;

use reqwest::Response;
use serde_json::error::Category;
use tokio::time::Instant;

/// Bytes of a reply that are read; an honest one has a few thousand.
const MAX_BYTES: usize = 2 << 20;
/// A reply that has begun comes at least so fast; an honest one comes at once, for it was thought out before.
const MIN_BYTES_PER_SECOND: f64 = 100.0;
/// The part of a call's deadline over which that is looked at: ten seconds of the usual two minutes.
const WINDOW_OF_DEADLINE: u32 = 12;

/// Why the bytes did not come.
#[derive(Debug)]
pub(super) enum ReplyFault {
    /// There are more than any honest reply has.
    TooLarge(String),
    /// They came too slowly.
    TooSlow(String),
    /// The connection said something.
    Network(reqwest::Error),
}

/// The whole body.
pub(super) async fn read(mut response: Response, deadline: Duration) -> Result<Vec<u8>, ReplyFault> {
    if let Some(length) = response.content_length().filter(|length| *length > MAX_BYTES as u64) {
        return Err(ReplyFault::TooLarge(format!("it announces {length} bytes, more than {MAX_BYTES}")));
    }
    let mut body = Vec::new();
    let mut flow = Flow::new(deadline / WINDOW_OF_DEADLINE);
    loop {
        let chunk = tokio::select! {
            chunk = response.chunk() => chunk.map_err(ReplyFault::Network)?,
            () = flow.until_due() => {
                flow.check()?;
                continue;
            }
        };
        let Some(chunk) = chunk else { return Ok(body) };
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(ReplyFault::TooLarge(format!("it has more than {MAX_BYTES} bytes")));
        }
        flow.came(&chunk);
        body.extend_from_slice(&chunk);
    }
}

/// What is wrong with a body that is no completion: one that ends too early may be whole at the next try.
pub(super) fn unreadable(body: &[u8], error: &serde_json::Error) -> String {
    match error.classify() {
        _ if body.trim_ascii().is_empty() => "it is empty".to_owned(),
        Category::Eof => format!("it ends in the midst of its JSON: {error}"),
        Category::Data => format!("its JSON is something else: {error}"),
        Category::Syntax | Category::Io => format!("it is not JSON: {error}"),
    }
}

/// How fast the bytes come, window by window.
struct Flow {
    window: Duration,
    /// The end of the current window. Before the first byte there is none: some gateways send empty lines, to keep the
    /// connection alive, while the teacher still thinks.
    due: Option<Instant>,
    bytes: usize,
}

impl Flow {
    fn new(window: Duration) -> Self {
        Self { window, due: None, bytes: 0 }
    }

    fn came(&mut self, chunk: &[u8]) {
        if self.due.is_none() && !chunk.trim_ascii().is_empty() {
            self.due = Some(Instant::now() + self.window);
        }
        if self.due.is_some() {
            self.bytes += chunk.len();
        }
    }

    async fn until_due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    fn check(&mut self) -> Result<(), ReplyFault> {
        let seconds = self.window.as_secs_f64();
        if (self.bytes as f64) < MIN_BYTES_PER_SECOND * seconds {
            let came = self.bytes;
            return Err(ReplyFault::TooSlow(format!(
                "{came} bytes of it came in {seconds:.1} s, fewer than {MIN_BYTES_PER_SECOND} a second"
            )));
        }
        (self.due, self.bytes) = (Some(Instant::now() + self.window), 0);
        Ok(())
    }
}
