//! How long a client wants to wait for an answer. Beyond it nobody reads the answer any more, so nothing of it is computed: what
//! waits for the engine is dropped, what is being written ends with the next token, and the place is free.
//!
//! The header is our own, in whole or broken seconds. `x-stainless-read-timeout`, which OpenAI's packages send by themselves, is
//! not such a bound: it is the longest silence between two bytes that the client puts up with, and starts anew with each.

use std::{str::FromStr, time::Duration};

use axum::{extract::Request, http::HeaderMap, middleware::Next, response::Response};
use tokio::time::{Instant, timeout_at};
use utoipa::IntoParams;

use super::error::ApiError;

const HEADER: &str = "stepwise-timeout";
/// A day. Nothing takes longer.
const LONGEST_SECONDS: f64 = 86_400.0;

/// How a request bounds its own time.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes a header that is read by hand")]
pub struct DeadlineHeader {
    /// Seconds, above 0 and at most 86400, after which the answer is of no use to the client. What is not answered then is dropped,
    /// between two tokens: the answer is 504 `deadline_exceeded`, or that error as a stream's last chunk. Without it an answer may
    /// take as long as it takes.
    #[param(rename = "Stepwise-Timeout", example = 2.5, exclusive_minimum = 0, maximum = 86400)]
    stepwise_timeout: Option<f64>,
}

/// When an answer is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deadline {
    at: Instant,
    given: Duration,
}

/// Gives up a request at its own deadline, counted from its head. Handlers that stream find it among the request's extensions.
pub async fn keep(mut request: Request, next: Next) -> Result<Response, ApiError> {
    let deadline = Deadline::of(request.headers())?;
    if let Some(deadline) = deadline {
        request.extensions_mut().insert(deadline);
    }
    within(deadline, next.run(request)).await
}

/// What comes of the work, if it comes in time.
pub async fn within<T>(deadline: Option<Deadline>, work: impl Future<Output = T>) -> Result<T, ApiError> {
    let Some(Deadline { at, given }) = deadline else { return Ok(work.await) };
    timeout_at(at, work).await.map_err(|_| ApiError::DeadlineExceeded(given))
}

impl Deadline {
    /// The deadline that a request gives itself.
    fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let mut values = headers.get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let given = value.to_str().ok().filter(|_| values.next().is_none()).and_then(seconds);
        let given = given.ok_or_else(|| {
            let found: Vec<_> =
                headers.get_all(HEADER).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            let detail = format!(
                "Stepwise-Timeout is {:?}; send it once, in seconds above 0 and at most {LONGEST_SECONDS}, such as 2.5",
                found.join(", ")
            );
            ApiError::field("#/Stepwise-Timeout", "invalid_value", detail)
        })?;
        Ok(Some(Self { at: Instant::now() + given, given }))
    }
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds = f64::from_str(text).ok().filter(|seconds| *seconds > 0.0 && *seconds <= LONGEST_SECONDS)?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_number_of_seconds() {
        for (text, millis) in [("2.5", 2500), ("30", 30_000), (".5", 500), ("1e-3", 1), ("86400", 86_400_000)] {
            assert_eq!(seconds(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "0", "0.0", "-1", "1e9", "inf", "NaN", "2,5", "2s", "86400.1", "1.2.3"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
