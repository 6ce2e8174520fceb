//! Clients in a closed loop, and what they see.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use reqwest::{Client, header::CONTENT_TYPE};
use tokio::task::JoinSet;

use crate::cli::{CommandError, bench_rows::in_turn};

/// Time in which what is asked does not count: models are loaded, connections made, clients out of step as they will be.
const WARM_UP: Duration = Duration::from_secs(1);

/// What is asked, and for how long.
pub struct Target {
    /// Where.
    pub url: String,
    /// The bodies.
    pub requests: Arc<[Bytes]>,
    /// How long what is asked counts.
    pub time: Duration,
}

/// What came of it.
pub struct Load {
    /// How long each answer took, the shortest first.
    latencies: Vec<Duration>,
    time: Duration,
}

impl Target {
    /// The load of so many clients.
    pub async fn of(&self, clients: usize) -> Result<Load, CommandError> {
        let from = Instant::now() + WARM_UP;
        let mut loops = JoinSet::new();
        for number in 0..clients {
            let (url, requests) = (self.url.clone(), Arc::clone(&self.requests));
            let client = Client::builder().no_proxy().http1_only().build()?;
            let until = from + self.time;
            loops.spawn(async move {
                let mut seen = Vec::new();
                for round in 0.. {
                    let body = in_turn(&requests, round, clients).nth(number).cloned().unwrap_or_default();
                    let asked = Instant::now();
                    if asked > until {
                        break;
                    }
                    ask(&client, &url, body).await?;
                    // Each request of the time counts once and whole, wherever its answer falls.
                    if asked >= from {
                        seen.push(asked.elapsed());
                    }
                }
                Ok::<_, CommandError>(seen)
            });
        }
        let mut latencies = Vec::new();
        while let Some(seen) = loops.join_next().await {
            latencies.extend(seen??);
        }
        latencies.sort();
        Ok(Load { latencies, time: self.time })
    }
}

/// Asks once; anything but an answer ends the benchmark.
async fn ask(client: &Client, url: &str, body: Bytes) -> Result<(), CommandError> {
    let response = client.post(url).header(CONTENT_TYPE, "application/json").body(body).send().await?;
    let status = response.status();
    let body = response.bytes().await?;
    if status.is_success() {
        return Ok(());
    }
    Err(format!("{url} answered {status}: {}", String::from_utf8_lossy(&body)).into())
}

impl Load {
    /// Answers a second.
    pub fn answers_per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "answers of a benchmark are far below 2^52")]
        let answers = self.latencies.len() as f64;
        answers / self.time.as_secs_f64()
    }

    /// The latency that this share of the answers did not take longer than; zero where there was none.
    pub fn latency(&self, share: f64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "answers of a benchmark are far below 2^52")]
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a length is a place in it"
        )]
        let place = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(place).or(self.latencies.last()).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_what_was_seen() {
        let latencies = (1..=200).map(Duration::from_millis).collect();
        let load = Load { latencies, time: Duration::from_secs(4) };
        let found = (load.answers_per_second(), [0.5, 0.99].map(|share| load.latency(share).as_millis()));
        assert_eq!(found, (50.0, [101, 199]));
        let none = Load { latencies: Vec::new(), time: Duration::from_secs(4) };
        assert_eq!((none.answers_per_second(), none.latency(0.99)), (0.0, Duration::ZERO));
    }
}
